//! Strict JSON (RFC 8259): a repeated member, at any depth, is a fault rather than a choice (RFC 7515 §4, RFC 7519 §4).

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Reads one object that nests no deeper than `depth`, itself included.
///
/// # Errors
/// Whatever is no single JSON object in UTF-8, nests deeper, or repeats a member. The error tells the place and the
/// rule, and no content.
pub(super) fn object(bytes: &[u8], depth: usize) -> Result<Map<String, Value>, serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = Strict { depth }.deserialize(&mut reader)?;
    reader.end()?;
    match value {
        Value::Object(members) => Ok(members),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Err(serde_json::Error::custom("not a JSON object"))
        }
    }
}

/// Reads one value; `depth` is how many arrays and objects may still open.
#[derive(Clone, Copy)]
struct Strict {
    depth: usize,
}

impl Strict {
    fn within<E: Error>(self) -> Result<Self, E> {
        self.depth.checked_sub(1).map(|depth| Self { depth }).ok_or_else(|| E::custom("nested too deeply"))
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let within = self.within()?;
        let mut values = Vec::new();
        while let Some(value) = elements.next_element_seed(within)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let within = self.within()?;
        let mut values = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            // Looked up before the value is read: a repeated member costs nothing more.
            if values.contains_key(&name) {
                return Err(A::Error::custom("a member is repeated"));
            }
            let value = members.next_value_seed(within)?;
            values.insert(name, value);
        }
        Ok(Value::Object(values))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_plain_json_is_read_as_serde_json_reads_it() {
        for text in [
            "{}",
            r#" {"a":1,"b":-1,"c":1.5,"d":true,"e":null,"f":"x"} "#,
            r#"{"a":{"a":{"a":[]}}}"#,
            r#"{"a":["b",{"c":"d"},[1,2]],"é":"\u00e9\n\ud83d\ude00"}"#,
            r#"{"n":18446744073709551615,"m":-9223372036854775808,"l":1e300}"#,
        ] {
            let expected: Map<String, Value> = serde_json::from_str(text).unwrap();
            assert_eq!(object(text.as_bytes(), 32).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn row_77_repeated_members_are_refused_at_any_depth_and_in_any_spelling() {
        for text in [
            r#"{"sub":"alice","sub":"bob"}"#,
            r#"{"sub":"alice","sub":"alice"}"#,
            r#"{"role":"user","role":"admin"}"#,
            r#"{"sub":"alice","s\u0075b":"bob"}"#,
            r#"{"a":{"b":1,"b":2}}"#,
            r#"{"a":[{"b":1,"b":2}]}"#,
            r#"{"":1,"":2}"#,
            r#"{"a":null,"a":1}"#,
        ] {
            let fault = object(text.as_bytes(), 32).unwrap_err().to_string();
            assert!(fault.contains("a member is repeated"), "{text}: {fault}");
        }
        // Names that only look alike are different names: é in two normal forms, and two cases.
        for text in ["{\"\u{e9}\":1,\"e\u{301}\":2}", r#"{"Sub":1,"sub":2}"#] {
            assert!(object(text.as_bytes(), 32).is_ok(), "{text}");
        }
    }

    #[test]
    fn row_83_nesting_is_bounded_and_never_overflows_the_stack() {
        let nested = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth - 1), "]".repeat(depth - 1));
        assert!(object(nested(32).as_bytes(), 32).is_ok());
        for depth in [33, 200, 100_000] {
            assert!(object(nested(depth).as_bytes(), 32).is_err(), "{depth}");
            assert!(object(nested(depth).as_bytes(), usize::MAX).is_err() || depth < 128, "{depth}");
        }
        assert!(object(b"{}", 1).is_ok());
        assert!(object(b"{}", 0).is_err());
        assert!(object(b"{\"a\":[]}", 1).is_err());
    }

    #[test]
    fn row_84_what_is_no_json_object_is_refused() {
        for text in [
            &b""[..],
            b" ",
            b"null",
            b"\"{}\"",
            b"7",
            b"[]",
            b"[{}]",
            b"{}{}",
            b"{} x",
            b"{},",
            b"{\"a\":1,}",
            b"{\"a\":NaN}",
            b"{\"a\":Infinity}",
            b"{\"a\":01}",
            b"{\"a\":+1}",
            b"{\"a\":0x1}",
            b"{\"a\":1e400}",
            b"{\"a\":1e999999999999}",
            b"{'a':1}",
            b"{a:1}",
            b"{\"a\":1 /* x */}",
            b"{\"a\":1}\0",
            b"\xef\xbb\xbf{}",
            b"{\"a\":\"\xff\"}",
            b"{\"\xff\":1}",
            b"{\"a\":\"\xed\xa0\x80\"}",
            b"{\"a\":\"\\ud800\"}",
            b"{\"a\":\"\\udc00\\ud800\"}",
            b"{\"\\ud800\":1}",
            b"{\"a\":\"\n\"}",
            b"{\"a\":\"\0\"}",
            b"{\"a\":\"\\x41\"}",
        ] {
            assert!(object(text, 32).is_err(), "{}", text.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn whatever_is_accepted_serde_json_reads_the_same(bytes: Vec<u8>) {
            if let Ok(members) = object(&bytes, 32) {
                prop_assert_eq!(serde_json::from_slice::<Map<String, Value>>(&bytes).unwrap(), members);
            }
        }

        #[test]
        fn an_object_is_accepted_just_when_its_members_differ(names in prop::collection::vec("[a-c]{1,2}", 0..6)) {
            let members: Vec<String> = names.iter().map(|name| format!("\"{name}\":0")).collect();
            let mut unique = names.clone();
            unique.sort();
            unique.dedup();
            let text = format!("{{{}}}", members.join(","));
            prop_assert_eq!(object(text.as_bytes(), 1).is_ok(), unique.len() == names.len());
        }
    }
}
