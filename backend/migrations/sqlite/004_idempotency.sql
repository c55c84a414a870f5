-- Which create made which task, for a day, so that one that is sent again makes no second task.
CREATE TABLE idempotency (
    owner       TEXT    NOT NULL,
    key         TEXT    NOT NULL,
    fingerprint TEXT    NOT NULL, -- of what was sent
    task        INTEGER NOT NULL, -- its id; the task itself may be gone by now
    made_at     INTEGER NOT NULL, -- seconds since the Unix epoch
    PRIMARY KEY (owner, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX idempotency_by_age ON idempotency (made_at);
