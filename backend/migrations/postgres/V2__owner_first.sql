-- Stores that lay rows out by their primary key keep those of one owner together; PostgreSQL has one index fewer to write.
-- That an id is unique by itself is the identity's doing.
ALTER TABLE task DROP CONSTRAINT task_pkey;
ALTER TABLE task ADD PRIMARY KEY (owner, id);
DROP INDEX task_by_owner;
