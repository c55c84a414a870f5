//! Cross-origin resource sharing for one route (Fetch standard, "HTTP extensions: CORS protocol").

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};

use super::Head;

/// A route's CORS policy. Credentials are never allowed across origins: the token goes in a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cors {
    /// Exact origins that may read answers, such as `https://app.example`.
    pub origins: Box<[Box<str>]>,
    /// Methods that a preflight allows.
    pub methods: Box<[Method]>,
    /// Request headers that a preflight allows.
    pub headers: Box<[HeaderName]>,
    /// Response headers that scripts may read.
    pub expose: Box<[HeaderName]>,
    /// Seconds for which a browser may keep a preflight's answer.
    pub max_age_seconds: u32,
}

impl Cors {
    /// Tells the browser of an actual request's origin that it may read this answer, and replaces what the upstream
    /// said of it: one place decides.
    pub fn decorate(&self, origin: Option<&HeaderValue>, answer: &mut HeaderMap) {
        for name in OWNED {
            answer.remove(name);
        }
        answer.append(header::VARY, HeaderValue::from_static("Origin"));
        if let Some(origin) = self.allowed(origin) {
            answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            set_list(answer, header::ACCESS_CONTROL_EXPOSE_HEADERS, self.expose.iter().map(HeaderName::as_str));
        }
    }

    /// The headers that answer a preflight. Without the allowing ones, the browser refuses on its own.
    pub(super) fn preflight(&self, head: &Head<'_>) -> HeaderMap {
        let mut answer = HeaderMap::new();
        answer.insert(
            header::VARY,
            HeaderValue::from_static("Origin, Access-Control-Request-Method, Access-Control-Request-Headers"),
        );
        if let Some(origin) = self.allowed(head.headers.get(header::ORIGIN)) {
            answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            set_list(&mut answer, header::ACCESS_CONTROL_ALLOW_METHODS, self.methods.iter().map(Method::as_str));
            set_list(&mut answer, header::ACCESS_CONTROL_ALLOW_HEADERS, self.headers.iter().map(HeaderName::as_str));
            answer.insert(header::ACCESS_CONTROL_MAX_AGE, self.max_age_seconds.into());
        }
        answer
    }

    fn allowed<'h>(&self, origin: Option<&'h HeaderValue>) -> Option<&'h HeaderValue> {
        origin.filter(|origin| self.origins.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes()))
    }
}

/// The method that a preflight asks for; `None` if the request is none.
pub(super) fn requested_method(head: &Head<'_>) -> Option<Method> {
    // Browsers send one origin; of several, each reader could believe another.
    if head.method != Method::OPTIONS || head.headers.get_all(header::ORIGIN).iter().count() != 1 {
        return None;
    }
    let method = head.headers.get(header::ACCESS_CONTROL_REQUEST_METHOD)?;
    Method::from_bytes(method.as_bytes()).ok()
}

/// The response headers that the policy alone sets.
const OWNED: [HeaderName; 6] = [
    header::ACCESS_CONTROL_ALLOW_ORIGIN,
    header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
    header::ACCESS_CONTROL_ALLOW_METHODS,
    header::ACCESS_CONTROL_ALLOW_HEADERS,
    header::ACCESS_CONTROL_EXPOSE_HEADERS,
    header::ACCESS_CONTROL_MAX_AGE,
];

fn set_list<'t>(answer: &mut HeaderMap, name: HeaderName, items: impl Iterator<Item = &'t str>) {
    let list = items.collect::<Vec<_>>().join(", ");
    if let Ok(value) = HeaderValue::from_str(&list)
        && !list.is_empty()
    {
        answer.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> Cors {
        Cors {
            origins: ["https://app.example".into()].into(),
            methods: [Method::GET, Method::PUT].into(),
            headers: [header::AUTHORIZATION].into(),
            expose: [header::LINK].into(),
            max_age_seconds: 600,
        }
    }

    #[test]
    fn an_answer_is_readable_by_a_listed_origin_alone() {
        for (origin, allowed) in [
            ("https://app.example", true),
            ("https://app.example.evil", false),
            ("http://app.example", false),
            ("https://APP.example", false),
            ("null", false),
        ] {
            let mut answer = HeaderMap::new();
            answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
            policy().decorate(Some(&HeaderValue::from_static(origin)), &mut answer);
            let named = answer.get_all(header::ACCESS_CONTROL_ALLOW_ORIGIN).iter().collect::<Vec<_>>();
            assert_eq!(named, if allowed { vec![origin] } else { vec![] }, "{origin}");
            assert_eq!(answer.get(header::VARY).unwrap(), "Origin");
        }
    }
}
