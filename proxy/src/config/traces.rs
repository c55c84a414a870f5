//! Where traces of exchanges go, and of how many.

use http::{Uri, uri::PathAndQuery};

use super::{Fault, Warning, defaults, dump::Dump, loader::Loader, section::Section, text::Text, url};

/// Where traces of exchanges go, and of how many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traces {
    /// The collector: where OTLP over HTTP is taken.
    pub otlp: Uri,
    /// Of the exchanges that nobody trusted has decided about, the part that is recorded.
    pub sample_ratio: Ratio,
    /// The name of this service in the traces.
    pub service_name: Box<str>,
}

/// A part of a whole, from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Ratio(f64);

// Lawful, since it is never NaN.
impl Eq for Ratio {}

impl Ratio {
    pub(super) const WHOLE: Self = Self(1.0);

    /// `None` outside 0 to 1.
    pub fn new(part: f64) -> Option<Self> {
        (0.0..=1.0).contains(&part).then_some(Self(part))
    }

    /// The part, from 0 to 1.
    pub fn as_f64(self) -> f64 {
        self.0
    }
}

/// The path that collectors take traces at where none is said (OTLP 1.0, "OTLP/HTTP Request").
const PATH: &str = "/v1/traces";

/// Where collectors take what is not sent here.
const GRPC_PORT: u16 = 4317;

impl Traces {
    /// `None` where no collector is named.
    pub(super) fn read(section: &mut Section<'_>, plain_hosts: &[Box<str>]) -> Option<Self> {
        let loader = section.loader;
        let otlp = section.parsed("otlp", |text| collector(text, plain_hosts, loader));
        let sample_ratio = section.ratio("sample_ratio");
        let service_name = section.parsed("service_name", Text::not_empty);
        if section.has("sample_ratio") || section.has("service_name") {
            section.require("otlp", "the collector's URL, such as http://localhost:4318");
        }
        Some(Self {
            otlp: otlp?,
            sample_ratio: sample_ratio.unwrap_or(Ratio::WHOLE),
            service_name: service_name.unwrap_or_else(|| defaults::SERVICE_NAME.into()),
        })
    }

    pub(super) fn write(&self, dump: &mut Dump<'_>) {
        dump.table("[traces]");
        dump.entry("otlp", self.otlp.to_string());
        dump.entry("sample_ratio", self.sample_ratio.as_f64());
        dump.entry("service_name", &*self.service_name);
    }
}

fn collector(text: &Text, plain_hosts: &[Box<str>], loader: &Loader<'_>) -> Result<Uri, Fault> {
    let uri = url::read_safe(text, plain_hosts)?;
    if uri.port_u16() == Some(GRPC_PORT) {
        let message = "4317 is the port of OTLP over gRPC; what is sent is OTLP over HTTP, usually at 4318".into();
        loader.warn(Warning { place: text.place.clone(), key: text.key.as_str().into(), message });
    }
    if uri.path_and_query().is_some_and(|path| path != "/") {
        return Ok(uri);
    }
    let mut parts = uri.into_parts();
    parts.path_and_query = Some(PathAndQuery::from_static(PATH));
    Uri::from_parts(parts).map_err(|_| text.fault("a URL"))
}
