-- "task" in ASCII: tells our files from those of other programs.
PRAGMA application_id = 0x7461736B;

-- AUTOINCREMENT: an id is never handed out twice, not even after its task is gone.
CREATE TABLE task (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    owner       TEXT    NOT NULL,
    title       TEXT    NOT NULL,
    description TEXT,
    completed   INTEGER NOT NULL DEFAULT 0 CHECK (completed IN (0, 1)),
    created_at  INTEGER NOT NULL, -- seconds since the Unix epoch
    updated_at  INTEGER NOT NULL
) STRICT;

-- Serves every statement: each one names the owner, and lists run in order of id.
CREATE INDEX task_by_owner ON task (owner, id);
