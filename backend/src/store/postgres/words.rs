//! Words for PostgreSQL, split and folded here, so that a search finds what it finds in SQLite.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

use crate::search::Words;

/// The longest word that is kept, in characters: a lexeme may have 2 046 bytes.
const WORD_CHARACTERS: usize = 255;

/// The lexemes of a text.
pub(super) fn lexemes(text: &str) -> Vec<String> {
    Words::of(&folded(text)).iter().map(shortened).collect()
}

/// The search in the language of `tsquery`: tasks with words that begin with these. Words hold letters and digits alone,
/// so nothing in them needs escaping.
pub(super) fn query(words: &Words) -> String {
    let words: Vec<String> = words.iter().flat_map(lexemes).map(|word| format!("'{word}':*")).collect();
    words.join(" & ")
}

fn folded(text: &str) -> String {
    text.nfd().filter(|character| !is_combining_mark(*character)).nfc().collect()
}

fn shortened(word: &str) -> String {
    word.chars().take(WORD_CHARACTERS).collect()
}
