-- Identity columns never hand out a number twice. "C" compares text by its bytes, as SQLite does.
CREATE TABLE task (
    id          BIGINT  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    owner       TEXT    COLLATE "C" NOT NULL,
    title       TEXT    COLLATE "C" NOT NULL,
    description TEXT,
    completed   BOOLEAN NOT NULL DEFAULT FALSE,
    created_at  BIGINT  NOT NULL, -- seconds since the Unix epoch
    updated_at  BIGINT  NOT NULL,
    words       TSVECTOR NOT NULL -- of title and description, as this service splits and folds them
);

-- Serves every statement: each one names the owner, and lists run in order of id.
CREATE INDEX task_by_owner ON task (owner, id);

-- How much each owner keeps, so that a quota costs one look-up. Bytes are those of titles and descriptions in UTF-8.
CREATE TABLE usage (
    owner TEXT   COLLATE "C" PRIMARY KEY,
    tasks BIGINT NOT NULL,
    bytes BIGINT NOT NULL
);

-- Which create made which task, for a day, so that one that is sent again makes no second task.
CREATE TABLE idempotency (
    owner       TEXT   COLLATE "C" NOT NULL,
    key         TEXT   COLLATE "C" NOT NULL,
    fingerprint TEXT   NOT NULL, -- of what was sent
    task        BIGINT NOT NULL, -- its id; the task itself may be gone by now
    made_at     BIGINT NOT NULL, -- seconds since the Unix epoch
    PRIMARY KEY (owner, key)
);

CREATE INDEX idempotency_by_age ON idempotency (made_at);
