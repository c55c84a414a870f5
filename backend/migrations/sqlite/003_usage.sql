-- How much each owner keeps, so that a quota costs one look-up. Bytes are those of titles and descriptions in UTF-8.
CREATE TABLE usage (
    owner TEXT    PRIMARY KEY,
    tasks INTEGER NOT NULL,
    bytes INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO usage
    SELECT owner, count(*), sum(octet_length(title) + ifnull(octet_length(description), 0)) FROM task GROUP BY owner;

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
