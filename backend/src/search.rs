//! The words of a search.

/// What is searched for: tasks that hold, for each of these, a word that begins with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words(Vec<String>);

impl Words {
    /// The words of a text, in lower case: runs of letters and digits.
    pub(crate) fn of(text: &str) -> Self {
        let words = text.split(|character: char| !character.is_alphanumeric()).filter(|word| !word.is_empty());
        Self(words.map(str::to_lowercase).collect())
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
