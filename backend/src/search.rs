//! The words of a search and of what is searched: split and folded here, so that every store finds the same.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// The longest word that is told from others, in characters: stores bound theirs in bytes.
const WORD_CHARACTERS: usize = 255;

/// The words of a text. As a search: tasks that hold, for each of these, a word that begins with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words(Vec<String>);

impl Words {
    /// The words of a text, in lower case and without accents: runs of letters and digits.
    pub(crate) fn of(text: &str) -> Self {
        let folded: String = text.nfd().filter(|character| !is_combining_mark(*character)).nfc().collect();
        let lower = folded.to_lowercase();
        let words = lower.split(|character: char| !character.is_alphanumeric()).filter(|word| !word.is_empty());
        Self(words.map(|word| word.chars().take(WORD_CHARACTERS).collect()).collect())
    }

    /// The words of a title and a description.
    pub(crate) fn of_task(title: &str, description: Option<&str>) -> Self {
        Self::of(&[title, description.unwrap_or_default()].join(" "))
    }

    /// Without words nothing is found.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The words one by one; none holds a quote or an operator of any search language.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_the_same_in_every_spelling() {
        for text in ["Zo\u{eb}'s TEA-time", "zoe\u{308} S tea_TIME", "  ZOE/s,tea.time!"] {
            assert_eq!(Words::of(text).iter().collect::<Vec<_>>(), ["zoe", "s", "tea", "time"], "{text:?}");
        }
        assert_eq!(Words::of("I\u{307}STANBUL"), Words::of("istanbul"));
        assert_eq!(Words::of("a_b %"), Words::of_task("A", Some("b")));
        assert!(Words::of(" \u{301}!").is_empty());
    }
}
