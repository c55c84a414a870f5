//! Strict JSON bodies: one reading only, and every fault told at once.

use axum::extract::{FromRequest, Request};
use http::{HeaderMap, header};
use mime::Mime;
use serde::Serialize;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

use crate::problem::{Code, FieldFault, Problem};
use crate::receive;

/// The JSON text of a value of ours.
pub(crate) fn text<T: Serialize>(value: &T) -> Vec<u8> {
    // Our types have string keys and no failing serializers, so this cannot go wrong.
    serde_json::to_vec(value).unwrap_or_default()
}

/// A request body that can be read from the members of one JSON object.
pub(crate) trait FromMembers: Sized {
    /// Media types it may come as, by their essence.
    const MEDIA_TYPES: &'static [&'static str] = &["application/json"];

    /// Takes what it knows; the faults go to `members`.
    fn from_members(members: &mut Members) -> Option<Self>;
}

/// Extracts a body, or refuses with 413, 415 or 400.
pub(crate) struct Json<T>(pub(crate) T);

impl<S: Sync, T: FromMembers> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let (mut parts, _) = request.into_parts();
        expect_media_type(&parts.headers, T::MEDIA_TYPES)?;
        let body = receive::body(&mut parts.extensions)?;
        parse(&body).map(Self).map_err(|faults| Problem::of_fields(Code::BodyInvalid, faults))
    }
}

/// Reads `body` as a `T`.
///
/// # Errors
/// Every fault of the body.
pub(crate) fn parse<T: FromMembers>(body: &[u8]) -> Result<T, Vec<FieldFault>> {
    let mut members = Members::parse(body).map_err(|fault| vec![fault])?;
    let read = T::from_members(&mut members);
    let faults = members.finish();
    match read {
        Some(read) if faults.is_empty() => Ok(read),
        Some(_) | None => Err(faults),
    }
}

fn expect_media_type(headers: &HeaderMap, wanted: &[&str]) -> Result<(), Problem> {
    let mut values = headers.get_all(header::CONTENT_TYPE).iter();
    let found = match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok().and_then(|text| text.parse::<Mime>().ok()),
        (Some(_), Some(_)) | (None, _) => None,
    };
    let fits = found.is_some_and(|found| {
        wanted.contains(&found.essence_str())
            && found.get_param(mime::CHARSET).is_none_or(|charset| charset == mime::UTF_8)
    });
    if fits {
        return Ok(());
    }
    Err(Problem::new(
        Code::ContentTypeUnsupported,
        format!("Send the body with Content-Type: {}.", wanted.join(" or ")),
    ))
}

/// The members of one JSON object in the order they came, repeated names kept.
///
/// serde_json's own map keeps the last of two equal names; a body that says two things is refused here instead.
pub(crate) struct Members {
    left: Vec<(String, Value)>,
    faults: Vec<FieldFault>,
}

impl Members {
    fn parse(body: &[u8]) -> Result<Self, FieldFault> {
        serde_json::from_slice::<Pairs>(body).map(|Pairs(left)| Self { left, faults: Vec::new() }).map_err(|error| {
            let message = if error.is_data() {
                "the body must be a JSON object".to_owned()
            } else {
                format!("the body is not valid JSON (line {}, column {})", error.line(), error.column())
            };
            FieldFault::new("", message)
        })
    }

    /// Takes the member `name`. Of a repeated one the first counts, and the repetition is a fault.
    pub(crate) fn take(&mut self, name: &str) -> Option<Value> {
        let mut found = self.left.extract_if(.., |(member, _)| member == name);
        let first = found.next();
        if found.count() > 0 {
            self.fault(name, "appears more than once");
        }
        first.map(|(_, value)| value)
    }

    /// Takes the member `name`; its absence is a fault.
    pub(crate) fn require(&mut self, name: &str) -> Option<Value> {
        let value = self.take(name);
        if value.is_none() {
            self.fault(name, "is required");
        }
        value
    }

    /// Adds a fault of the member `name`.
    pub(crate) fn fault(&mut self, name: &str, message: impl Into<String>) {
        self.faults.push(FieldFault::new(name, message));
    }

    fn finish(mut self) -> Vec<FieldFault> {
        let mut unknown: Vec<String> = self.left.into_iter().map(|(name, _)| name).collect();
        unknown.sort_unstable();
        unknown.dedup();
        self.faults.extend(unknown.into_iter().map(|name| FieldFault::new(name, "is not a known member")));
        self.faults
    }
}

struct Pairs(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(PairsVisitor)
    }
}

struct PairsVisitor;

impl<'de> Visitor<'de> for PairsVisitor {
    type Value = Pairs;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Pairs, A::Error> {
        let mut pairs = Vec::new();
        while let Some(pair) = access.next_entry()? {
            pairs.push(pair);
        }
        Ok(Pairs(pairs))
    }
}
