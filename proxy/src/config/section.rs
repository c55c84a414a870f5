//! One table of the file, with what flags and variables say over it. Knows which keys it was asked for, and so which
//! ones nobody knows.

use std::{
    ops::{Range, RangeInclusive},
    time::Duration,
};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{Fault, Place, fault::quoted, loader::Loader, text::Text};

/// What a flag or a variable says.
#[derive(Clone, Debug)]
pub(super) struct Given {
    pub(super) values: Vec<String>,
    pub(super) place: Place,
}

impl Given {
    pub(super) fn texts(&self, key: &str) -> Vec<Text> {
        let text = |value: &String| Text { value: value.clone(), key: key.to_owned(), place: self.place.clone() };
        self.values.iter().map(text).collect()
    }
}

/// Flags and variables over keys of one table.
pub(super) type Overrides = Vec<(&'static str, Given)>;

/// One table of the file.
pub(super) struct Section<'l> {
    pub(super) loader: &'l Loader<'l>,
    /// Its path, empty for the whole file.
    pub(super) key: String,
    /// Where it begins.
    pub(super) place: Place,
    table: Option<&'l DeTable<'l>>,
    over: Overrides,
    known: Vec<&'static str>,
}

/// One value of the file.
struct Node<'l> {
    key: String,
    place: Place,
    value: &'l DeValue<'l>,
}

impl<'l> Section<'l> {
    /// Reads a table with a function that asks for every key there is, and tells of any other.
    pub(super) fn read<T>(
        loader: &'l Loader<'l>,
        (key, place): (String, Place),
        table: Option<&'l DeTable<'l>>,
        over: Overrides,
        read: impl FnOnce(&mut Self) -> T,
    ) -> T {
        let mut section = Self { loader, key, place, table, over, known: Vec::new() };
        let value = read(&mut section);
        section.report_unknown();
        value
    }

    /// Reads a table within this one, empty if it is not there.
    pub(super) fn within<T>(
        &mut self,
        name: &'static str,
        over: Overrides,
        read: impl FnOnce(&mut Section<'l>) -> T,
    ) -> T {
        let node = self.node(name);
        let table = node.as_ref().and_then(|node| self.table_of(node));
        let place = node.map_or_else(|| self.place.clone(), |node| node.place);
        Section::read(self.loader, (self.path(name), place), table, over, read)
    }

    /// Reads each table of an array of tables; what flags and variables say goes over the first.
    pub(super) fn each<T>(
        &mut self,
        name: &'static str,
        mut over: Overrides,
        mut read: impl FnMut(&mut Section<'l>) -> T,
    ) -> Vec<T> {
        let Some(node) = self.node(name) else { return Vec::new() };
        let DeValue::Array(items) = node.value else {
            self.loader.report(node.fault(&format!("[[{name}]] tables")));
            return Vec::new();
        };
        let mut values = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let item = self.item(&node.key, index, item);
            if let Some(table) = self.table_of(&item) {
                let over = std::mem::take(&mut over);
                values.push(Section::read(self.loader, (item.key, item.place), Some(table), over, &mut read));
            }
        }
        values
    }

    /// Reads each table of a table of tables, with its name; what flags and variables say goes over the first.
    pub(super) fn named<T>(
        &mut self,
        name: &'static str,
        mut over: Overrides,
        mut read: impl FnMut(&Text, &mut Section<'l>) -> T,
    ) -> Vec<T> {
        let Some(node) = self.node(name) else { return Vec::new() };
        let Some(table) = self.table_of(&node) else { return Vec::new() };
        let mut values = Vec::new();
        for (entry, value) in table {
            let key = format!("{}.{}", node.key, entry.get_ref());
            let text = Text { value: entry.get_ref().to_string(), key: key.clone(), place: self.at(&entry.span()) };
            let item = Node { key: key.clone(), place: text.place.clone(), value: value.get_ref() };
            if let Some(table) = self.table_of(&item) {
                let (place, over) = ((key, text.place.clone()), std::mem::take(&mut over));
                values.push(Section::read(self.loader, place, Some(table), over, |section| read(&text, section)));
            }
        }
        values
    }

    /// Every pair of a table of texts.
    pub(super) fn pairs(&mut self, name: &'static str) -> Vec<(Text, Text)> {
        let Some(node) = self.node(name) else { return Vec::new() };
        let Some(table) = self.table_of(&node) else { return Vec::new() };
        let pair = |(entry, value): (&Spanned<_>, &'l Spanned<DeValue<'l>>)| {
            let entry: &Spanned<std::borrow::Cow<'_, str>> = entry;
            let key = format!("{}.{}", node.key, entry.get_ref());
            let name = Text { value: entry.get_ref().to_string(), key: key.clone(), place: self.at(&entry.span()) };
            let value = Node { key, place: self.at(&value.span()), value: value.get_ref() };
            Some((name, self.text_of(&value)?))
        };
        table.iter().filter_map(pair).collect()
    }

    /// A text.
    pub(super) fn text(&mut self, name: &'static str) -> Option<Text> {
        if let Some(given) = self.given(name) {
            return given.texts(&self.path(name)).pop();
        }
        let node = self.node(name)?;
        self.text_of(&node)
    }

    /// A list of texts; a text alone is a list of one.
    pub(super) fn texts(&mut self, name: &'static str) -> Option<Vec<Text>> {
        if let Some(given) = self.given(name) {
            return Some(given.texts(&self.path(name)));
        }
        let node = self.node(name)?;
        let DeValue::Array(items) = node.value else { return self.text_of(&node).map(|text| vec![text]) };
        let items = items.iter().enumerate().map(|(index, item)| self.item(&node.key, index, item));
        Some(items.filter_map(|item| self.text_of(&item)).collect())
    }

    /// A list of texts that is not empty: an empty one could be meant as "none" and as "any".
    pub(super) fn some_texts(&mut self, name: &'static str) -> Option<Vec<Text>> {
        let texts = self.texts(name)?;
        if self.count(name) == 0 && texts.is_empty() {
            self.loader.report(self.fault_at(name, "an empty list", "at least one entry, or no such key"));
        }
        Some(texts)
    }

    /// A text, understood.
    pub(super) fn parsed<T>(&mut self, name: &'static str, parse: impl FnOnce(&Text) -> Result<T, Fault>) -> Option<T> {
        let text = self.text(name)?;
        self.loader.accept(parse(&text))
    }

    /// A list of texts, each understood. What is not is told and left out.
    pub(super) fn parsed_list<T>(
        &mut self,
        name: &'static str,
        parse: impl Fn(&Text) -> Result<T, Fault>,
    ) -> Option<Box<[T]>> {
        let texts = self.texts(name)?;
        Some(self.parse_all(&texts, parse))
    }

    /// Like [`Section::parsed_list`], of a list that is not empty.
    pub(super) fn some_parsed<T>(
        &mut self,
        name: &'static str,
        parse: impl Fn(&Text) -> Result<T, Fault>,
    ) -> Option<Box<[T]>> {
        let texts = self.some_texts(name)?;
        Some(self.parse_all(&texts, parse))
    }

    fn parse_all<T>(&self, texts: &[Text], parse: impl Fn(&Text) -> Result<T, Fault>) -> Box<[T]> {
        texts.iter().filter_map(|text| self.loader.accept(parse(text))).collect()
    }

    /// A whole number within a range.
    pub(super) fn integer(&mut self, name: &'static str, range: RangeInclusive<u64>) -> Option<u64> {
        let wanted = format!("a whole number from {} to {}", range.start(), range.end());
        if self.given(name).is_some() {
            let within = |text: &Text| text.value.parse().ok().filter(|number| range.contains(number));
            return self.parsed(name, |text| within(text).ok_or_else(|| text.fault(&*wanted)));
        }
        let node = self.node(name)?;
        let number = match node.value {
            DeValue::Integer(integer) => u64::from_str_radix(integer.as_str(), integer.radix()).ok(),
            DeValue::String(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Array(_)
            | DeValue::Table(_) => None,
        };
        self.loader.accept(number.filter(|number| range.contains(number)).ok_or_else(|| node.fault(&wanted)))
    }

    /// A number of seconds, whole or not, within a range.
    pub(super) fn seconds(&mut self, name: &'static str, range: RangeInclusive<f64>) -> Option<Duration> {
        let node = self.node(name)?;
        let seconds = match node.value {
            DeValue::Integer(integer) => u32::from_str_radix(integer.as_str(), integer.radix()).ok().map(f64::from),
            DeValue::Float(float) => float.as_str().parse().ok(),
            DeValue::String(_) | DeValue::Boolean(_) | DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => {
                None
            }
        };
        let wanted = || node.fault(&format!("seconds from {} to {}", range.start(), range.end()));
        let seconds = seconds.filter(|seconds| range.contains(seconds)).map(Duration::from_secs_f64);
        self.loader.accept(seconds.ok_or_else(wanted))
    }

    /// `true` or `false`.
    pub(super) fn boolean(&mut self, name: &'static str) -> Option<bool> {
        let node = self.node(name)?;
        match node.value {
            DeValue::Boolean(value) => Some(*value),
            DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Datetime(_)
            | DeValue::Array(_)
            | DeValue::Table(_) => {
                self.loader.report(node.fault("true or false"));
                None
            }
        }
    }

    /// A text or a table of one text, such as `"public"` or `{ owner = "user_id" }`.
    pub(super) fn either(&mut self, name: &'static str) -> Option<(Text, Option<Text>)> {
        let node = self.node(name)?;
        self.variant(&node)
    }

    /// A list of which each entry is a text or a table of one text, such as `"header"` or `{ cookie = "session" }`.
    pub(super) fn variants(&mut self, name: &'static str) -> Option<Vec<(Text, Option<Text>)>> {
        let node = self.node(name)?;
        let DeValue::Array(items) = node.value else { return self.variant(&node).map(|variant| vec![variant]) };
        let items = items.iter().enumerate().map(|(index, item)| self.item(&node.key, index, item));
        Some(items.filter_map(|item| self.variant(&item)).collect())
    }

    fn variant(&self, node: &Node<'l>) -> Option<(Text, Option<Text>)> {
        let DeValue::Table(table) = node.value else { return self.text_of(node).map(|text| (text, None)) };
        let mut entries = table.iter();
        let (Some((entry, value)), None) = (entries.next(), entries.next()) else {
            self.loader.report(node.fault("a table of one key"));
            return None;
        };
        let key = format!("{}.{}", node.key, entry.get_ref());
        let name = Text { value: entry.get_ref().to_string(), key: key.clone(), place: self.at(&entry.span()) };
        let value = Node { key, place: self.at(&value.span()), value: value.get_ref() };
        Some((name, Some(self.text_of(&value)?)))
    }

    /// Knows the key without reading it, where something else stands in its place.
    pub(super) fn pass_over(&mut self, name: &'static str) {
        self.known.push(name);
    }

    /// How many entries the file has under a key.
    pub(super) fn count(&self, name: &str) -> usize {
        match self.table.and_then(|table| table.get(name)).map(Spanned::get_ref) {
            Some(DeValue::Array(items)) => items.len(),
            Some(DeValue::Table(table)) => table.len(),
            Some(
                DeValue::String(_)
                | DeValue::Integer(_)
                | DeValue::Float(_)
                | DeValue::Boolean(_)
                | DeValue::Datetime(_),
            )
            | None => 0,
        }
    }

    /// Whether the key is given anywhere.
    pub(super) fn has(&self, name: &str) -> bool {
        self.over.iter().any(|(key, _)| *key == name) || self.table.is_some_and(|table| table.contains_key(name))
    }

    /// Tells that a key is missing, if it is.
    pub(super) fn require(&self, name: &'static str, wanted: &str) {
        if !self.has(name) {
            self.loader.report(self.fault_at(name, "nothing", wanted));
        }
    }

    /// A fault at a key of this table, or at the table if the key is not there.
    pub(super) fn fault_at(&self, name: &str, found: impl Into<Box<str>>, wanted: impl Into<Box<str>>) -> Fault {
        let over = self.over.iter().find(|(key, _)| *key == name).map(|(_, given)| given.place.clone());
        let entry = || self.table.and_then(|table| table.get(name)).map(|value| self.at(&value.span()));
        let place = over.or_else(entry).unwrap_or_else(|| self.place.clone());
        Fault::new(place, self.path(name), found, wanted)
    }

    /// The path of a key of this table.
    pub(super) fn path(&self, name: &str) -> String {
        if self.key.is_empty() { name.to_owned() } else { format!("{}.{name}", self.key) }
    }

    fn given(&mut self, name: &'static str) -> Option<Given> {
        self.known.push(name);
        self.over.iter().find(|(key, _)| *key == name).map(|(_, given)| given.clone())
    }

    fn node(&mut self, name: &'static str) -> Option<Node<'l>> {
        self.known.push(name);
        let value = self.table?.get(name)?;
        Some(Node { key: self.path(name), place: self.at(&value.span()), value: value.get_ref() })
    }

    fn item(&self, key: &str, index: usize, item: &'l Spanned<DeValue<'l>>) -> Node<'l> {
        Node { key: format!("{key}[{index}]"), place: self.at(&item.span()), value: item.get_ref() }
    }

    fn at(&self, span: &Range<usize>) -> Place {
        self.loader.origin.map_or(Place::CommandLine, |origin| origin.place(span))
    }

    fn text_of(&self, node: &Node<'l>) -> Option<Text> {
        let DeValue::String(value) = node.value else {
            self.loader.report(node.fault("a text in quotes"));
            return None;
        };
        Some(Text { value: value.to_string(), key: node.key.clone(), place: node.place.clone() })
    }

    fn table_of(&self, node: &Node<'l>) -> Option<&'l DeTable<'l>> {
        let DeValue::Table(table) = node.value else {
            self.loader.report(node.fault("a table"));
            return None;
        };
        Some(table)
    }

    fn report_unknown(mut self) {
        self.known.sort_unstable();
        self.known.dedup();
        for (entry, _) in self.table.into_iter().flatten() {
            let name = entry.get_ref();
            if !self.known.contains(&&**name) {
                let wanted = format!("one of {}", self.known.join(", "));
                let fault = Fault::new(self.at(&entry.span()), self.path(name), "an unknown key", wanted);
                self.loader.report(match nearest(name, &self.known) {
                    Some(near) => fault.advise(format!("did you mean {near:?}?")),
                    None => fault,
                });
            }
        }
    }
}

impl Node<'_> {
    fn fault(&self, wanted: &str) -> Fault {
        let found = match self.value {
            DeValue::String(text) => quoted(text),
            DeValue::Integer(number) => number.to_string(),
            DeValue::Float(number) => number.to_string(),
            DeValue::Boolean(value) => value.to_string(),
            DeValue::Datetime(time) => time.to_string(),
            DeValue::Array(_) => "a list".to_owned(),
            DeValue::Table(_) => "a table".to_owned(),
        };
        Fault::new(self.place.clone(), self.key.as_str(), found, wanted)
    }
}

/// The known name that was probably meant.
pub(super) fn nearest<'k>(name: &str, known: &[&'k str]) -> Option<&'k str> {
    const SIMILAR: f64 = 0.8;
    let score = |known: &&'k str| strsim::jaro_winkler(name, known);
    let rated = known.iter().map(|known| (score(known), *known));
    rated.filter(|(score, _)| *score > SIMILAR).max_by(|one, other| one.0.total_cmp(&other.0)).map(|(_, known)| known)
}
