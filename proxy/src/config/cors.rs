//! The CORS policy of a route.

use http::{HeaderName, Method};

use super::{Fault, defaults, dump::Dump, issuer::narrow, route::method, section::Section, text::Text, url};
use crate::decide::Cors;

pub(super) fn read(section: &mut Section<'_>, route_methods: &[Method]) -> Option<Cors> {
    section.within_if_any("cors", |section| {
        section.require("origins", "the origins that may read answers, such as \"https://app.example\"");
        let origins = section.some_parsed("origins", origin);
        let methods = section.parsed_list("methods", method).unwrap_or_else(|| default_methods(route_methods));
        let headers = section.parsed_list("headers", header).unwrap_or_else(|| defaults::CORS_HEADERS.into());
        let expose = section.parsed_list("expose", header).unwrap_or_default();
        let max_age_seconds =
            section.integer("max_age_seconds", 0..=86_400).map_or(defaults::CORS_MAX_AGE_SECONDS, narrow);
        Some(Cors { origins: origins?, methods, headers, expose, max_age_seconds })
    })
}

pub(super) fn write(cors: &Cors, dump: &mut Dump<'_>) {
    dump.table("[route.cors]");
    dump.list("origins", &*cors.origins);
    dump.list("methods", &*cors.methods);
    dump.list("headers", &*cors.headers);
    dump.list("expose", &*cors.expose);
    dump.number("max_age_seconds", cors.max_age_seconds);
}

/// What the route answers, or the usual ones where it answers any.
fn default_methods(route_methods: &[Method]) -> Box<[Method]> {
    if route_methods.is_empty() { defaults::CORS_METHODS.into() } else { route_methods.into() }
}

/// An origin exactly as browsers send it, for it is compared byte by byte.
fn origin(text: &Text) -> Result<Box<str>, Fault> {
    const WANTED: &str = "an origin such as \"https://app.example\"";
    if text.value == "*" {
        return Err(text
            .fault(WANTED)
            .advise("a wildcard would let every site use the tokens that it can get hold of"));
    }
    let exact = url::origin(&url::read(text, WANTED)?);
    if exact != text.value {
        return Err(text.fault(WANTED).advise(format!("browsers send it as {exact:?}")));
    }
    Ok(exact.into())
}

fn header(text: &Text) -> Result<HeaderName, Fault> {
    const WANTED: &str = "a header name such as \"Authorization\"";
    if text.value == "*" {
        return Err(text.fault(WANTED).advise("a wildcard never covers Authorization; list the names"));
    }
    text.parse(WANTED)
}
