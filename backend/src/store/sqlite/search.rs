//! The words of tasks in FTS5. Each stands there as a term that begins with a short name of its owner: the terms of one
//! owner lie together, and a search reads no others.

use rusqlite::{Connection, Result};
use xxhash_rust::xxh3::xxh3_64;

use crate::search::Words;

/// The terms of a task's words, for the index.
fn terms(owner: &str, title: &str, description: Option<&str>) -> String {
    let name = name(owner);
    let terms: Vec<String> = Words::of_task(title, description).iter().map(|word| format!("{name}{word}")).collect();
    terms.join(" ")
}

/// A search in the language of FTS5. Terms are letters and digits alone, so nothing in them needs escaping.
pub(super) fn matching(owner: &str, words: &Words) -> String {
    if words.is_empty() {
        return "\"\"".to_owned();
    }
    let name = name(owner);
    let terms: Vec<String> = words.iter().map(|word| format!("\"{name}{word}\"*")).collect();
    terms.join(" AND ")
}

/// All names are of one length, so that no name and word read as another name and word. Two owners may have the same
/// name: who asks for the tasks that were found names the owner in full.
fn name(owner: &str) -> String {
    format!("{:016x}", xxh3_64(owner.as_bytes()))
}

pub(super) fn add(connection: &Connection, owner: &str, id: i64, title: &str, description: Option<&str>) -> Result<()> {
    connection
        .prepare_cached("INSERT INTO task_search (rowid, words) VALUES (?1, ?2)")?
        .execute((id, terms(owner, title, description)))
        .map(drop)
}

pub(super) fn remove(connection: &Connection, id: i64) -> Result<()> {
    connection.prepare_cached("DELETE FROM task_search WHERE rowid = ?1")?.execute([id]).map(drop)
}

/// Adds every task there is to an empty index.
pub(super) fn fill(connection: &Connection) -> Result<()> {
    let mut tasks = connection.prepare("SELECT owner, id, title, description FROM task")?;
    let mut rows = tasks.query(())?;
    while let Some(row) = rows.next()? {
        let description = row.get_ref("description")?.as_str_or_null()?;
        add(connection, row.get_ref("owner")?.as_str()?, row.get("id")?, row.get_ref("title")?.as_str()?, description)?;
    }
    Ok(())
}
