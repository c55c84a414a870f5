-- Tasks of one owner lie together, so that a page of them is a few pages of the file however many owners there are.
CREATE TABLE clustered (
    owner       TEXT    NOT NULL,
    id          INTEGER NOT NULL,
    title       TEXT    NOT NULL,
    description TEXT,
    completed   INTEGER NOT NULL DEFAULT 0 CHECK (completed IN (0, 1)),
    created_at  INTEGER NOT NULL, -- seconds since the Unix epoch
    updated_at  INTEGER NOT NULL,
    PRIMARY KEY (owner, id)
) STRICT, WITHOUT ROWID;

INSERT INTO clustered
    SELECT owner, id, title, description, completed, created_at, updated_at FROM task ORDER BY owner, id;

-- The last id that was handed out. It only grows: no id is handed out twice, not even after its task is gone.
CREATE TABLE last_id (
    id INTEGER NOT NULL
) STRICT;

INSERT INTO last_id SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'task'), 0);

-- The triggers go with it.
DROP TABLE task;
ALTER TABLE clustered RENAME TO task;

CREATE TRIGGER usage_insert AFTER INSERT ON task BEGIN
    INSERT INTO usage VALUES (new.owner, 1, octet_length(new.title) + ifnull(octet_length(new.description), 0))
        ON CONFLICT (owner) DO UPDATE SET tasks = tasks + 1, bytes = bytes + excluded.bytes;
END;

CREATE TRIGGER usage_update AFTER UPDATE ON task
    WHEN old.title IS NOT new.title OR old.description IS NOT new.description BEGIN
    UPDATE usage SET bytes = bytes
        + octet_length(new.title) + ifnull(octet_length(new.description), 0)
        - octet_length(old.title) - ifnull(octet_length(old.description), 0)
        WHERE owner = new.owner;
END;

CREATE TRIGGER usage_delete AFTER DELETE ON task BEGIN
    UPDATE usage SET
        tasks = tasks - 1,
        bytes = bytes - octet_length(old.title) - ifnull(octet_length(old.description), 0)
        WHERE owner = old.owner;
END;

-- Each word stands there as its owner's own, so that a search reads nobody else's, however common the word. The service
-- splits and folds the words; here they are taken as they come.
DROP TABLE task_search;
CREATE VIRTUAL TABLE task_search USING fts5 (
    words,
    content = '', contentless_delete = 1, detail = none, tokenize = 'ascii'
);
