//! One table of the file, with what flags and variables say over it. Knows which keys it was asked for, and so which
//! ones nobody knows.

use std::{ops::RangeInclusive, time::Duration};

use toml::de::DeTable;

use super::{
    Fault, Place,
    loader::Loader,
    node::{Node, Variant},
    text::Text,
    traces::Ratio,
};

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
    key: String,
    /// Where it begins.
    place: Place,
    table: Option<&'l DeTable<'l>>,
    over: Overrides,
    known: Vec<&'static str>,
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
    pub(super) fn within<T>(&mut self, name: &'static str, over: Overrides, read: impl FnOnce(&mut Self) -> T) -> T {
        let node = self.node(name);
        let table = node.as_ref().and_then(|node| self.loader.accept(node.table()));
        let place = node.map_or_else(|| self.place.clone(), |node| node.place);
        Section::read(self.loader, (self.path(name), place), table, over, read)
    }

    /// Reads a table within this one if it is there.
    pub(super) fn within_if_any<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&mut Self) -> Option<T>,
    ) -> Option<T> {
        if self.has(name) {
            return self.within(name, Vec::new(), read);
        }
        self.pass_over(name);
        None
    }

    /// Reads each table of an array of tables; what flags and variables say goes over the first.
    pub(super) fn each<T>(
        &mut self,
        name: &'static str,
        mut over: Overrides,
        mut read: impl FnMut(&mut Self) -> T,
    ) -> Vec<T> {
        let Some(node) = self.node(name) else { return Vec::new() };
        let items = node.items().ok_or_else(|| node.fault(&format!("[[{name}]] tables")));
        let mut values = Vec::new();
        for item in self.loader.accept(items).unwrap_or_default() {
            if let Some(table) = self.loader.accept(item.table()) {
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
        mut read: impl FnMut(&Text, &mut Self) -> T,
    ) -> Vec<T> {
        let mut values = Vec::new();
        for (name, node) in self.entries(name) {
            if let Some(table) = self.loader.accept(node.table()) {
                let (place, over) = ((node.key, name.place.clone()), std::mem::take(&mut over));
                values.push(Section::read(self.loader, place, Some(table), over, |section| read(&name, section)));
            }
        }
        values
    }

    /// Every pair of a table of texts.
    pub(super) fn pairs(&mut self, name: &'static str) -> Vec<(Text, Text)> {
        let pair = |(name, node): (Text, Node<'l>)| Some((name, self.loader.accept(node.text())?));
        self.entries(name).into_iter().filter_map(pair).collect()
    }

    /// A text.
    pub(super) fn text(&mut self, name: &'static str) -> Option<Text> {
        if let Some(given) = self.given(name) {
            return given.texts(&self.path(name)).pop();
        }
        let node = self.node(name)?;
        self.loader.accept(node.text())
    }

    /// A list of texts; a text alone is a list of one.
    fn texts(&mut self, name: &'static str) -> Option<Vec<Text>> {
        if let Some(given) = self.given(name) {
            return Some(given.texts(&self.path(name)));
        }
        self.list(name, Node::text)
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
        Some(texts.iter().filter_map(|text| self.loader.accept(parse(text))).collect())
    }

    /// Like [`Section::parsed_list`], of a list that is not empty: an empty one could be meant as "none" and as "any".
    pub(super) fn some_parsed<T>(
        &mut self,
        name: &'static str,
        parse: impl Fn(&Text) -> Result<T, Fault>,
    ) -> Option<Box<[T]>> {
        self.refuse_empty(name);
        self.parsed_list(name, parse)
    }

    /// A whole number within a range.
    pub(super) fn integer(&mut self, name: &'static str, range: RangeInclusive<u64>) -> Option<u64> {
        let wanted = format!("a whole number from {} to {}", range.start(), range.end());
        let within = |number: &u64| range.contains(number);
        if self.given(name).is_some() {
            let number = |text: &Text| text.value.parse().ok().filter(within).ok_or_else(|| text.fault(&*wanted));
            return self.parsed(name, number);
        }
        let node = self.node(name)?;
        self.loader.accept(node.integer().filter(within).ok_or_else(|| node.fault(&wanted)))
    }

    /// A number of seconds, whole or not, within a range.
    pub(super) fn seconds(&mut self, name: &'static str, range: RangeInclusive<f64>) -> Option<Duration> {
        let node = self.node(name)?;
        self.loader.accept(node.seconds(&range))
    }

    /// A number from 0 to 1.
    pub(super) fn ratio(&mut self, name: &'static str) -> Option<Ratio> {
        let node = self.node(name)?;
        let ratio = node.number().and_then(Ratio::new);
        self.loader.accept(ratio.ok_or_else(|| node.fault("a number from 0 to 1")))
    }

    /// `true` or `false`.
    pub(super) fn boolean(&mut self, name: &'static str) -> Option<bool> {
        let node = self.node(name)?;
        self.loader.accept(node.boolean())
    }

    /// A text or a table of one text.
    pub(super) fn variant(&mut self, name: &'static str) -> Option<Variant> {
        let node = self.node(name)?;
        self.loader.accept(node.variant())
    }

    /// A list, not empty, of texts and tables of one text.
    pub(super) fn variants(&mut self, name: &'static str) -> Option<Vec<Variant>> {
        self.refuse_empty(name);
        self.list(name, Node::variant)
    }

    /// Knows the key without reading it, where something else stands in its place.
    pub(super) fn pass_over(&mut self, name: &'static str) {
        self.known.push(name);
    }

    /// How many entries the file has under a key.
    pub(super) fn count(&self, name: &str) -> usize {
        let Some(node) = self.peek(name) else { return 0 };
        node.items().map_or_else(|| node.table().map_or(0, DeTable::len), |items| items.len())
    }

    /// Whether the key is given anywhere.
    pub(super) fn has(&self, name: &str) -> bool {
        self.over.iter().any(|(key, _)| *key == name) || self.peek(name).is_some()
    }

    /// Tells that a key is missing, if it is.
    pub(super) fn require(&self, name: &str, wanted: &str) {
        if !self.has(name) {
            self.loader.report(self.fault_at(name, "nothing", wanted));
        }
    }

    /// A fault at a key of this table, or at the table if the key is not there.
    pub(super) fn fault_at(&self, name: &str, found: impl Into<Box<str>>, wanted: impl Into<Box<str>>) -> Fault {
        let over = self.over.iter().find(|(key, _)| *key == name).map(|(_, given)| given.place.clone());
        let place = over.or_else(|| self.peek(name).map(|node| node.place)).unwrap_or_else(|| self.place.clone());
        Fault::new(place, self.path(name), found, wanted)
    }

    fn path(&self, name: &str) -> String {
        if self.key.is_empty() { name.to_owned() } else { format!("{}.{name}", self.key) }
    }

    fn given(&mut self, name: &'static str) -> Option<Given> {
        self.known.push(name);
        self.over.iter().find(|(key, _)| *key == name).map(|(_, given)| given.clone())
    }

    fn node(&mut self, name: &'static str) -> Option<Node<'l>> {
        self.known.push(name);
        self.peek(name)
    }

    fn peek(&self, name: &str) -> Option<Node<'l>> {
        Some(Node::new(self.path(name), self.table?.get(name)?, self.loader))
    }

    fn entries(&mut self, name: &'static str) -> Vec<(Text, Node<'l>)> {
        let node = self.node(name);
        node.and_then(|node| self.loader.accept(node.entries())).unwrap_or_default()
    }

    /// What is good of a list; a value alone is a list of one.
    fn list<T>(&mut self, name: &'static str, read: impl Fn(&Node<'l>) -> Result<T, Fault>) -> Option<Vec<T>> {
        let node = self.node(name)?;
        let items = node.items().unwrap_or_else(|| vec![node]);
        Some(items.iter().filter_map(|item| self.loader.accept(read(item))).collect())
    }

    fn refuse_empty(&self, name: &str) {
        let items = self.peek(name).filter(|_| !self.over.iter().any(|(key, _)| *key == name));
        if items.and_then(|node| node.items()).is_some_and(|items| items.is_empty()) {
            self.loader.report(self.fault_at(name, "an empty list", "at least one entry, or no such key"));
        }
    }

    fn report_unknown(mut self) {
        self.known.sort_unstable();
        self.known.dedup();
        let Some(table) = self.table else { return };
        for (name, _) in table {
            if self.known.contains(&&**name.get_ref()) {
                continue;
            }
            let place = self.loader.origin.map_or(Place::CommandLine, |origin| origin.place(&name.span()));
            let wanted = format!("one of {}", self.known.join(", "));
            let fault = Fault::new(place, self.path(name.get_ref()), "an unknown key", wanted);
            self.loader.report(match nearest(name.get_ref(), &self.known) {
                Some(near) => fault.advise(format!("did you mean {near:?}?")),
                None => fault,
            });
        }
    }
}

/// The known name that was probably meant.
pub(super) fn nearest<'k>(name: &str, known: &[&'k str]) -> Option<&'k str> {
    const SIMILAR: f64 = 0.8;
    let score = |known: &&'k str| strsim::jaro_winkler(name, known);
    let rated = known.iter().map(|known| (score(known), *known));
    rated.filter(|(score, _)| *score > SIMILAR).max_by(|one, other| one.0.total_cmp(&other.0)).map(|(_, known)| known)
}
