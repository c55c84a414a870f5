-- The words of titles and descriptions. The owner stands among them as one word, so that a search touches nobody else's.
-- Contentless: the text itself is in "task" alone.
CREATE VIRTUAL TABLE task_search USING fts5 (
    owner, title, description,
    content = '', contentless_delete = 1, tokenize = 'unicode61 remove_diacritics 2'
);

INSERT INTO task_search (rowid, owner, title, description)
    SELECT id, 'x' || hex(owner), title, description FROM task;

CREATE TRIGGER task_search_insert AFTER INSERT ON task BEGIN
    INSERT INTO task_search (rowid, owner, title, description)
        VALUES (new.id, 'x' || hex(new.owner), new.title, new.description);
END;

CREATE TRIGGER task_search_update AFTER UPDATE ON task
    WHEN old.title IS NOT new.title OR old.description IS NOT new.description BEGIN
    UPDATE task_search SET owner = 'x' || hex(new.owner), title = new.title, description = new.description
        WHERE rowid = new.id;
END;

CREATE TRIGGER task_search_delete AFTER DELETE ON task BEGIN
    DELETE FROM task_search WHERE rowid = old.id;
END;
