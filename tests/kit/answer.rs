//! What a client got back, and the shape every refusal must have.

use serde_json::Value;

use crate::message::{Body, Head};

/// A whole response.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The status line and the fields.
    pub head: Head,
    /// Content and trailers.
    pub body: Body,
}

impl Answer {
    /// Puts a head and the body that followed it together.
    pub fn new(head: Head, body: Body) -> Self {
        Self { status: status_of(&head), head, body }
    }

    /// The value of a field that must not be repeated.
    pub fn header(&self, name: &str) -> Option<String> {
        self.head.value(name)
    }

    /// The content as text.
    pub fn text(&self) -> String {
        String::from_utf8(self.body.content.clone()).expect("the content is UTF-8")
    }

    /// The content as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body.content)
            .unwrap_or_else(|fault| panic!("the content is no JSON ({fault}): {:?}", self.text()))
    }

    /// The member `code` of a refusal; empty when there is none.
    pub fn code(&self) -> String {
        let body: Value = serde_json::from_slice(&self.body.content).unwrap_or_default();
        body["code"].as_str().unwrap_or_default().to_owned()
    }

    /// Checks the status and returns the answer.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.describe());
        self
    }

    /// Checks that this is the proxy's refusal `status` `code`, whole and in form: problem+json with every member (RFC 9457),
    /// never cached, with the challenge of RFC 6750 where the contract asks for one.
    #[track_caller]
    pub fn refused(&self, status: u16, code: &str) {
        assert_eq!((self.status, self.code().as_str()), (status, code), "{}", self.describe());
        if let Some(fault) = self.fault_of_form() {
            panic!("{fault}: {}", self.describe());
        }
    }

    /// What is wrong with this refusal's form, its status and code apart.
    pub fn fault_of_form(&self) -> Option<String> {
        if self.header("content-type").as_deref() != Some("application/problem+json") {
            return Some("a refusal is application/problem+json".into());
        }
        if !self.header("cache-control").is_some_and(|value| value.contains("no-store")) {
            return Some("a refusal is never cached".into());
        }
        let problem = self.json();
        for member in ["type", "title", "detail", "code", "request_id"] {
            if problem[member].as_str().is_none_or(str::is_empty) {
                return Some(format!("the member {member} is missing or empty"));
            }
        }
        if problem["status"] != self.status {
            return Some("the member status differs from the status".into());
        }
        self.fault_of_challenge()
    }

    /// RFC 6750 §3: no error code for a caller who sent no token, `invalid_token` for a bad one, `insufficient_scope` for a weak one.
    fn fault_of_challenge(&self) -> Option<String> {
        let wanted = match (self.status, self.code().as_str()) {
            (401, "token_missing") => None,
            (401, _) => Some("error=\"invalid_token\""),
            (403, "scope_missing") => Some("error=\"insufficient_scope\""),
            _ => return None,
        };
        let challenge = self.header("www-authenticate").unwrap_or_default();
        if challenge != "Bearer" && !challenge.starts_with("Bearer ") {
            return Some("the Bearer challenge is missing".into());
        }
        match wanted {
            None => challenge.contains("error=").then(|| "the challenge names an error".into()),
            Some(error) => (!challenge.contains(error)).then(|| format!("the challenge lacks {error}")),
        }
    }

    /// The answer for people, for a failed assertion.
    pub fn describe(&self) -> String {
        format!("{}{}", String::from_utf8_lossy(&self.head.raw), String::from_utf8_lossy(&self.body.content))
    }
}

/// The status of a status line; 0 when it is none.
pub fn status_of(head: &Head) -> u16 {
    let line = &head.start_line;
    let code = line.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3));
    code.and_then(|code| code.parse().ok()).unwrap_or_else(|| panic!("no status line: {line:?}"))
}
