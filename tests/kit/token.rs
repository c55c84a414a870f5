//! Tokens: good ones in one line, and every way to break them.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};

use crate::key::{Key, base64url};

/// The issuer that [`Token::of`] names.
pub const ISSUER: &str = "https://issuer.test";
/// The audience that [`Token::of`] names.
pub const AUDIENCE: &str = "https://api.test";

/// Seconds since 1970.
pub fn now() -> i64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
    i64::try_from(elapsed.as_secs()).expect("a clock before the year 292 billion")
}

#[derive(Clone, Debug)]
enum Part {
    Members(Map<String, Value>),
    Bytes(Vec<u8>),
    Text(String),
}

impl Part {
    fn members(&mut self) -> &mut Map<String, Value> {
        match self {
            Self::Members(members) => members,
            other => panic!("raw bytes have no members: {other:?}"),
        }
    }

    fn encoded(&self) -> String {
        match self {
            Self::Members(members) => base64url(Value::Object(members.clone()).to_string()),
            Self::Bytes(bytes) => base64url(bytes),
            Self::Text(text) => text.clone(),
        }
    }
}

/// A token before it is signed.
#[derive(Clone, Debug)]
pub struct Token {
    header: Part,
    payload: Part,
    alg_of_key: bool,
}

impl Token {
    /// A token of this user: `sub`, `iat`, `exp` in an hour, [`ISSUER`] and [`AUDIENCE`].
    pub fn of(user: &str) -> Self {
        let payload = json!({
            "sub": user, "iat": now(), "exp": now() + 3600, "iss": ISSUER, "aud": AUDIENCE,
        });
        Self::with_payload(payload)
    }

    /// A token of exactly these claims.
    pub fn with_payload(payload: Value) -> Self {
        let Value::Object(payload) = payload else { panic!("claims are an object") };
        Self { header: Part::Members(Map::new()), payload: Part::Members(payload), alg_of_key: true }
    }

    /// Sets a claim, of any type.
    #[must_use]
    pub fn claim(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.payload.members().insert(name.to_owned(), value.into());
        self
    }

    /// Leaves a claim out.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.payload.members().remove(name);
        self
    }

    /// Sets a header member; `alg` and `kid` are those of the key unless set here.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.alg_of_key &= name != "alg";
        self.header.members().insert(name.to_owned(), value.into());
        self
    }

    /// Leaves `alg` out.
    #[must_use]
    pub fn without_alg(mut self) -> Self {
        self.alg_of_key = false;
        self
    }

    /// These bytes as the header, then encoded.
    #[must_use]
    pub fn header_bytes(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.header = Part::Bytes(bytes.as_ref().to_vec());
        self
    }

    /// These bytes as the payload, then encoded.
    #[must_use]
    pub fn payload_bytes(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.payload = Part::Bytes(bytes.as_ref().to_vec());
        self
    }

    /// This text in the payload's place, not encoded.
    #[must_use]
    pub fn payload_text(mut self, text: &str) -> Self {
        self.payload = Part::Text(text.to_owned());
        self
    }

    /// The claims as JSON text, to be edited by hand.
    pub fn payload_json(&self) -> String {
        match &self.payload {
            Part::Members(members) => Value::Object(members.clone()).to_string(),
            other => panic!("the payload is raw already: {other:?}"),
        }
    }

    /// The two encoded parts that are signed.
    pub fn signing_input(&self, key: &Key) -> String {
        let mut header = self.header.clone();
        if let Part::Members(members) = &mut header {
            if self.alg_of_key {
                members.insert("alg".into(), json!(key.algorithm.name()));
            }
            if let Some(id) = &key.id {
                members.entry("kid").or_insert_with(|| json!(id));
            }
        }
        format!("{}.{}", header.encoded(), self.payload.encoded())
    }

    /// The compact form, signed by `key`.
    pub fn signed_by(&self, key: &Key) -> String {
        let input = self.signing_input(key);
        let signature = key.sign(input.as_bytes());
        format!("{input}.{}", base64url(signature))
    }

    /// The compact form with this signature part, not encoded.
    pub fn with_signature(&self, key: &Key, signature: &str) -> String {
        format!("{}.{signature}", self.signing_input(key))
    }
}
