//! What a token's claims must say: one function per rule (RFC 7519 §4.1, RFC 8725 §3).
//!
//! All of it is cheap, so all of it comes before cryptography; nothing here is believed until the signature is checked.

use http::{HeaderName, HeaderValue};
use serde_json::{Map, Value};

use super::{
    Code, Denial, Issuer, Timestamp, UserId,
    excerpt::Excerpt,
    identity::{CLAIM_BYTES, carry},
};

/// The last second that has a date of four digits: 9999-12-31T23:59:59Z. Later ones are mistakes of unit or worse.
const LATEST: u64 = 253_402_300_799;

/// The members of a token's payload.
#[derive(Clone, Copy)]
pub(super) struct Claims<'a>(pub(super) &'a Map<String, Value>);

/// Whom the claims name, and with what, if the signature holds.
#[derive(Debug)]
pub(super) struct UnverifiedCaller {
    pub(super) user: UserId,
    pub(super) expires_at: Timestamp,
    pub(super) scopes: Box<[Box<str>]>,
    pub(super) roles: Box<[Box<str>]>,
}

impl<'a> Claims<'a> {
    /// Applies every rule of the issuer.
    ///
    /// # Errors
    /// The refusal of the first rule that is broken.
    pub(super) fn check(self, rules: &Issuer, now: Timestamp) -> Result<UnverifiedCaller, Denial> {
        self.check_issuer(rules)?;
        self.check_audience(rules)?;
        let expires_at = self.check_expiry(rules, now)?;
        for name in ["nbf", "iat"] {
            self.check_begun(name, rules, now)?;
        }
        self.check_lifetime(rules)?;
        self.check_purpose(rules)?;
        let user = self.user(rules)?;
        self.check_required(rules)?;
        Ok(UnverifiedCaller { user, expires_at, scopes: self.scopes(rules)?, roles: self.roles(rules)? })
    }

    /// `iss`: one string (RFC 7519 §4.1.1).
    pub(super) fn issuer(self) -> Result<Option<&'a str>, Denial> {
        self.text("iss")
    }

    /// `iss` is the issuer's, exactly.
    fn check_issuer(self, rules: &Issuer) -> Result<(), Denial> {
        match (self.issuer()?, &rules.issuer) {
            (_, None) => Ok(()),
            (None, Some(_)) => Err(missing("iss")),
            (Some(found), Some(wanted)) if *found == **wanted => Ok(()),
            (Some(found), Some(wanted)) => Err(Denial::from(Code::IssuerMismatch).because(format!(
                "iss is {}, want {}",
                Excerpt(found),
                Excerpt(wanted)
            ))),
        }
    }

    /// `aud` holds one of the accepted audiences (RFC 7519 §4.1.3).
    fn check_audience(self, rules: &Issuer) -> Result<(), Denial> {
        let found = match self.0.get("aud") {
            Some(value) => {
                strings(value).ok_or_else(|| invalid("aud", "is neither a string nor an array of strings"))?
            }
            None if rules.audience.is_empty() => return Ok(()),
            None => return Err(missing("aud")),
        };
        if rules.audience.is_empty() {
            return Ok(());
        }
        if found.is_empty() || found.contains(&"") {
            return Err(invalid("aud", "is empty"));
        }
        if rules.audience.iter().any(|accepted| found.contains(&&**accepted)) {
            return Ok(());
        }
        let reason = format!("aud is {}, want one of {:?}", Excerpt(&found.join(", ")), rules.audience);
        Err(Denial::from(Code::AudienceMismatch).because(reason))
    }

    /// `exp` is there and, with the leeway, still to come (RFC 7519 §4.1.4). Returns when that ends.
    fn check_expiry(self, rules: &Issuer, now: Timestamp) -> Result<Timestamp, Denial> {
        let expiry = self.date("exp")?.ok_or_else(|| missing("exp"))?;
        let end = expiry.plus(rules.leeway_seconds.into());
        if now < end {
            return Ok(end);
        }
        let reason = format!("exp was {} s ago, {} s are forgiven", now.since(expiry), rules.leeway_seconds);
        Err(Denial::from(Code::TokenExpired).because(reason))
    }

    /// A time from which the token counts is, with the leeway, past (RFC 7519 §4.1.5, §4.1.6).
    fn check_begun(self, name: &str, rules: &Issuer, now: Timestamp) -> Result<(), Denial> {
        let Some(begin) = self.date(name)? else { return Ok(()) };
        if begin <= now.plus(rules.leeway_seconds.into()) {
            return Ok(());
        }
        let reason = format!("{name} is {} s ahead, {} s are forgiven", begin.since(now), rules.leeway_seconds);
        Err(Denial::from(Code::TokenNotYetValid).because(reason))
    }

    /// The token was issued for no longer than is accepted.
    fn check_lifetime(self, rules: &Issuer) -> Result<(), Denial> {
        let Some(longest) = rules.max_lifetime_seconds else { return Ok(()) };
        let issued = self.date("iat")?.ok_or_else(|| missing("iat"))?;
        let lifetime = self.date("exp")?.ok_or_else(|| missing("exp"))?.since(issued);
        if lifetime <= longest {
            return Ok(());
        }
        Err(Denial::from(Code::ClaimInvalid).because(format!("exp is {lifetime} s after iat, want {longest} at most")))
    }

    /// Better Auth signs links in mails and cached sessions with the same secret. They have no `sub`, so they matter
    /// where another claim is the user id.
    fn check_purpose(self, rules: &Issuer) -> Result<(), Denial> {
        let has = |name: &&str| self.0.contains_key(*name);
        let in_mail = ["requestType", "updateTo"].iter().any(has);
        let cached_session = ["session", "user", "updatedAt"].iter().all(has);
        if &*rules.user_claim != "sub" && (in_mail || cached_session) {
            return Err(
                Denial::from(Code::TokenTypeRefused).because("a link of a mail or a cached session, by its claims")
            );
        }
        Ok(())
    }

    /// The user id is a string that a header can carry. No other claim stands in for it.
    fn user(self, rules: &Issuer) -> Result<UserId, Denial> {
        // A registered claim keeps its type even where it is not the user id.
        self.text("sub")?;
        let name = &rules.user_claim;
        let text = self.text(name)?.ok_or_else(|| missing(name))?;
        UserId::new(text).map_err(|fault| invalid(name, &format!("is {} and {fault}", Excerpt(text))))
    }

    fn check_required(self, rules: &Issuer) -> Result<(), Denial> {
        match rules.required_claims.iter().find(|name| self.0.get(&***name).is_none_or(Value::is_null)) {
            Some(name) => Err(missing(name)),
            None => Ok(()),
        }
    }

    /// From every scope claim: the words of a string (RFC 6749 §3.3), or an array's elements as they are.
    fn scopes(self, rules: &Issuer) -> Result<Box<[Box<str>]>, Denial> {
        let mut scopes = Vec::new();
        for name in &rules.scope_claims {
            scopes.extend(self.grants(name, ' ')?);
        }
        Ok(scopes.into())
    }

    /// From the role claim: the items of a string, which Better Auth separates with commas, or an array's elements.
    fn roles(self, rules: &Issuer) -> Result<Box<[Box<str>]>, Denial> {
        rules.role_claim.as_ref().map_or_else(|| Ok(Box::default()), |name| self.grants(name, ',').map(Into::into))
    }

    /// `null` grants nothing: Better Auth copies empty columns of its user table into the payload.
    fn grants(self, name: &str, separator: char) -> Result<Vec<Box<str>>, Denial> {
        let found: Vec<&str> = match self.0.get(name) {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::String(list)) => list.split(separator).collect(),
            Some(value) => {
                strings(value).ok_or_else(|| invalid(name, "is neither a string nor an array of strings"))?
            }
        };
        Ok(found.into_iter().filter(|grant| !grant.is_empty()).map(Into::into).collect())
    }

    /// The claims that go into headers and can. A scalar goes as its text, an array of strings joined with commas.
    pub(super) fn headers(self, wanted: &[(HeaderName, Box<str>)]) -> Box<[(HeaderName, HeaderValue)]> {
        let carried = |(header, claim): &(HeaderName, Box<str>)| {
            let text = header_text(self.0.get(&**claim)?)?;
            Some((header.clone(), carry(&text, CLAIM_BYTES).ok()?))
        };
        wanted.iter().filter_map(carried).collect()
    }

    fn text(self, name: &str) -> Result<Option<&'a str>, Denial> {
        match self.0.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(invalid(name, "is no string")),
        }
    }

    fn date(self, name: &str) -> Result<Option<Timestamp>, Denial> {
        let Some(value) = self.0.get(name) else { return Ok(None) };
        match numeric_date(value) {
            Some(date) => Ok(Some(date)),
            None => Err(invalid(name, &format!("is no number of seconds from 0 to {LATEST}"))),
        }
    }
}

/// A `NumericDate` (RFC 7519 §2); a fraction of a second is dropped.
fn numeric_date(value: &Value) -> Option<Timestamp> {
    let number = value.as_number()?;
    let seconds = match number.as_u64() {
        Some(seconds) => seconds,
        None => whole_seconds(number.as_f64()?)?,
    };
    (seconds <= LATEST).then(|| Timestamp::from_unix(seconds))
}

fn whole_seconds(seconds: f64) -> Option<u64> {
    (0.0..=LATEST as f64).contains(&seconds).then_some(seconds as u64)
}

fn strings(value: &Value) -> Option<Vec<&str>> {
    match value {
        Value::String(text) => Some(vec![text]),
        Value::Array(elements) => elements.iter().map(Value::as_str).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => None,
    }
}

/// An element that holds a comma would read as two, so such an array has no text.
fn header_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Number(number) => Some(number.to_string()),
        Value::Array(_) => {
            strings(value).filter(|parts| !parts.iter().any(|part| part.contains(','))).map(|parts| parts.join(","))
        }
        Value::Null | Value::Object(_) => None,
    }
}

fn missing(name: &str) -> Denial {
    Denial::from(Code::ClaimMissing).because(format!("the token has no claim {name:?}"))
}

fn invalid(name: &str, why: &str) -> Denial {
    Denial::from(Code::ClaimInvalid).because(format!("the claim {name:?} {why}"))
}
