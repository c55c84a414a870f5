//! JSON with one reading: no member twice, at any depth, and no deeper than a cap.

use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// An object's members.
pub(super) type Object = Map<String, Value>;

/// Reads a document that is one object.
///
/// # Errors
/// What is wrong and where, without any of the document's text.
pub(super) fn object(text: &[u8], depth: usize) -> Result<Object, serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_slice(text);
    let value = Strict { levels: depth }.deserialize(&mut reader)?;
    reader.end()?;
    match value {
        Value::Object(members) => Ok(members),
        _ => Err(de::Error::custom("the document is not an object")),
    }
}

/// A value of at most so many levels of arrays and objects.
#[derive(Clone, Copy)]
struct Strict {
    levels: usize,
}

impl Strict {
    fn inner<E: de::Error>(self) -> Result<Self, E> {
        let levels = self.levels.checked_sub(1).ok_or_else(|| E::custom("too many levels"))?;
        Ok(Self { levels })
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("a number that is none"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut values = Vec::new();
        while let Some(value) = items.next_element_seed(inner)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut object = Object::new();
        while let Some(name) = members.next_key::<String>()? {
            let value = members.next_value_seed(inner)?;
            if object.insert(name, value).is_some() {
                return Err(de::Error::custom("a member stands twice"));
            }
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_document_with_a_second_reading_is_refused() {
        for text in [
            r#"{"a":1,"a":1}"#,
            r#"{"sub":"a","s\u0075b":"b"}"#,
            r#"{"x":{"a":1,"a":2}}"#,
            r#"{"x":[{"a":1,"a":2}]}"#,
            r#"{"a":1}x"#,
            r#"{"a":1}{"a":1}"#,
            "\u{feff}{}",
            r#"{"a":"\ud800"}"#,
            r#"{"a":1e999}"#,
            r#"{"a":NaN}"#,
            r#"{"a":01}"#,
            r#"{"a":1,}"#,
            r#"{/**/}"#,
            "{\"a\":\"\n\"}",
            "[]",
            "null",
            "",
        ] {
            assert!(object(text.as_bytes(), 32).is_err(), "{text}");
        }
        assert!(object(b"{\"a\":\"\xff\"}", 32).is_err());
    }

    #[test]
    fn levels_are_counted_and_capped() {
        let nested = |levels: usize| format!("{}{{}}{}", r#"{"a":"#.repeat(levels - 1), "}".repeat(levels - 1));
        assert!(object(nested(32).as_bytes(), 32).is_ok());
        assert!(object(nested(33).as_bytes(), 32).is_err());
        assert!(object(nested(100_000).as_bytes(), 32).is_err(), "row 83");
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_serde_json_reads(value in "\\{(\"[abc]\":([0-9]{1,3}|\"[a-z]{0,3}\"|null|true|\\[\\]|\\{\\}),?){0,4}\\}") {
            if let Ok(ours) = object(value.as_bytes(), 32) {
                prop_assert_eq!(Value::Object(ours), serde_json::from_str::<Value>(&value).unwrap());
            }
        }
    }
}
