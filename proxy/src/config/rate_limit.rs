//! How often somebody may call.

use super::{dump::Dump, issuer::narrow, route::inline, section::Section};
use crate::decide::RateLimit;

pub(super) fn read(section: &mut Section<'_>, name: &'static str) -> Option<RateLimit> {
    section.within_if_any(name, |section| {
        section.require("per_second", "requests per second");
        let per_second = section.integer("per_second", 1..=1_000_000).map(narrow);
        let burst = section.integer("burst", 1..=1_000_000).map(narrow);
        Some(RateLimit { per_second: per_second?, burst: burst.or(per_second)? })
    })
}

pub(super) fn write(limit: Option<RateLimit>, name: &str, dump: &mut Dump<'_>) {
    if let Some(limit) = limit {
        let pairs = [("per_second", limit.per_second), ("burst", limit.burst)];
        dump.entry(name, inline(pairs.map(|(key, number)| (key, i64::from(number).into()))));
    }
}
