//! What routes refer to by name.

use super::{Fault, IssuerConfig, Upstream, text::Text};

/// Things and their names. A faulty thing keeps its name, so that what refers to it is not called faulty too.
pub(super) type NameList<T> = Vec<(Box<str>, Option<T>)>;

/// What routes refer to by name.
pub(super) struct Named<'a> {
    pub(super) issuers: &'a NameList<IssuerConfig>,
    pub(super) upstreams: &'a NameList<Upstream>,
}

pub(super) fn names<T>(list: &NameList<T>) -> Vec<&str> {
    list.iter().map(|(name, _)| &**name).collect()
}

/// A name that stands in routes, logs and metrics.
pub(super) fn name(text: &Text) -> Result<Box<str>, Fault> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    if text.value.is_empty() || text.value.len() > 64 || !text.value.bytes().all(legal) {
        return Err(text.fault("a name of at most 64 letters, digits, \"-\", \".\" and \"_\""));
    }
    Ok(text.value.as_str().into())
}
