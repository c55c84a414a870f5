//! One value of the file and where it stands.

use std::{ops::RangeInclusive, time::Duration};

use toml::{
    Spanned,
    de::{DeString, DeTable, DeValue},
};

use super::{
    Fault, Place,
    fault::quoted,
    loader::{Loader, Origin},
    text::Text,
};

/// One value of the file.
pub(super) struct Node<'l> {
    /// The path of its key.
    pub(super) key: String,
    pub(super) place: Place,
    value: &'l DeValue<'l>,
    origin: Option<&'l Origin>,
}

/// A text, or the name and the text of a table of one: `"public"` or `{ owner = "user_id" }`.
pub(super) type Variant = (Text, Option<Text>);

impl<'l> Node<'l> {
    pub(super) fn new(key: String, value: &'l Spanned<DeValue<'l>>, loader: &Loader<'l>) -> Self {
        Self::at(key, value, loader.origin)
    }

    fn at(key: String, value: &'l Spanned<DeValue<'l>>, origin: Option<&'l Origin>) -> Self {
        let place = origin.map_or(Place::CommandLine, |origin| origin.place(&value.span()));
        Self { key, place, value: value.get_ref(), origin }
    }

    /// A fault that shows the value.
    pub(super) fn fault(&self, wanted: &str) -> Fault {
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

    pub(super) fn text(&self) -> Result<Text, Fault> {
        let DeValue::String(value) = self.value else { return Err(self.fault("a text in quotes")) };
        Ok(Text { value: value.to_string(), key: self.key.clone(), place: self.place.clone() })
    }

    pub(super) fn table(&self) -> Result<&'l DeTable<'l>, Fault> {
        let DeValue::Table(table) = self.value else { return Err(self.fault("a table")) };
        Ok(table)
    }

    /// The values of a list; nothing if it is none.
    pub(super) fn items(&self) -> Option<Vec<Self>> {
        let DeValue::Array(items) = self.value else { return None };
        let item = |(index, item)| Self::at(format!("{}[{index}]", self.key), item, self.origin);
        Some(items.iter().enumerate().map(item).collect())
    }

    /// The names and values of a table.
    pub(super) fn entries(&self) -> Result<Vec<(Text, Self)>, Fault> {
        let entry = |(name, value): (&Spanned<DeString<'l>>, _)| {
            let key = format!("{}.{}", self.key, name.get_ref());
            let place = self.origin.map_or(Place::CommandLine, |origin| origin.place(&name.span()));
            let text = Text { value: name.get_ref().to_string(), key: key.clone(), place };
            (text, Self::at(key, value, self.origin))
        };
        Ok(self.table()?.iter().map(entry).collect())
    }

    pub(super) fn variant(&self) -> Result<Variant, Fault> {
        let DeValue::Table(_) = self.value else { return Ok((self.text()?, None)) };
        match <[_; 1]>::try_from(self.entries()?) {
            Ok([(name, value)]) => Ok((name, Some(value.text()?))),
            Err(_) => Err(self.fault("a table of one key")),
        }
    }

    /// A whole number that is not negative.
    pub(super) fn integer(&self) -> Option<u64> {
        let DeValue::Integer(integer) = self.value else { return None };
        u64::from_str_radix(integer.as_str(), integer.radix()).ok()
    }

    /// A number, whole or not.
    pub(super) fn number(&self) -> Option<f64> {
        if let DeValue::Float(float) = self.value {
            return float.as_str().parse().ok();
        }
        self.integer().and_then(|number| u32::try_from(number).ok()).map(f64::from)
    }

    /// Seconds, whole or not, within a range.
    pub(super) fn seconds(&self, range: &RangeInclusive<f64>) -> Result<Duration, Fault> {
        let seconds = self.number().filter(|seconds| range.contains(seconds)).map(Duration::from_secs_f64);
        seconds.ok_or_else(|| self.fault(&format!("seconds from {} to {}", range.start(), range.end())))
    }

    pub(super) fn boolean(&self) -> Result<bool, Fault> {
        let DeValue::Boolean(value) = self.value else { return Err(self.fault("true or false")) };
        Ok(*value)
    }
}
