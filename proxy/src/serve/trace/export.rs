//! Recorded exchanges on their way to the collector: a queue with an end, batches, and patience with an outage.

use std::time::Duration;

use http::{HeaderValue, Uri};
use metrics::counter;
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::InstrumentationScope,
    resource::v1::Resource,
    trace::v1::{ResourceSpans, ScopeSpans, Span},
};
use prost::Message;
use tokio::{
    sync::{mpsc, oneshot},
    task::{JoinHandle, spawn_local},
    time::{Instant, sleep, timeout},
};
use tracing::{info, warn};

use super::span::{Record, Spans, text};
use crate::{
    config::Traces,
    serve::{
        jwks::{FetchFault, Fetcher},
        log::chain,
        metrics::TRACES,
    },
};

/// Exchanges that may wait, of some 2 KiB at most.
const QUEUE: usize = 2048;

/// Exchanges that are sent at once, at most.
const BATCH: usize = 512;

/// Between two looks at the queue. Nobody is woken for each exchange.
const DELAY: Duration = Duration::from_millis(200);

/// The longest wait for a collector that fails.
const LONGEST_DELAY: Duration = Duration::from_secs(30);

/// Between two lines of the log about an outage.
const CALM: Duration = Duration::from_secs(60);

/// For what is left at the end.
const FLUSH: Duration = Duration::from_secs(3);

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Sends what is recorded to the collector.
pub struct Exporter {
    queue: mpsc::Receiver<Record>,
    fetcher: Fetcher,
    collector: Uri,
    resource: Resource,
    delay: Duration,
    outage: Option<Outage>,
}

/// A collector that does not take what it is sent.
struct Outage {
    told: Instant,
    lost: usize,
}

/// A running exporter.
pub struct Export {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Exporter {
    /// An exporter to the collector of `traces`, and the way to it.
    pub fn new(traces: &Traces, fetcher: Fetcher) -> (Self, Spans) {
        let (sender, queue) = mpsc::channel(QUEUE);
        let resource = Resource {
            attributes: vec![text("service.name", &*traces.service_name), text("service.version", VERSION)],
            ..Resource::default()
        };
        let collector = traces.otlp.clone();
        (Self { queue, fetcher, collector, resource, delay: DELAY, outage: None }, Spans::new(sender))
    }

    /// Sends from now on, on the current thread's [`tokio::task::LocalSet`].
    pub fn start(self) -> Export {
        let (stop, stopped) = oneshot::channel();
        Export { stop, task: spawn_local(self.run(stopped)) }
    }

    async fn run(mut self, mut stopped: oneshot::Receiver<()>) {
        loop {
            let stopping = tokio::select! {
                () = sleep(self.delay) => false,
                _ = &mut stopped => true,
            };
            self.empty().await;
            if stopping {
                return;
            }
        }
    }

    /// Sends all that waits, until a batch is not taken.
    async fn empty(&mut self) {
        loop {
            let records: Vec<Record> = std::iter::from_fn(|| self.queue.try_recv().ok()).take(BATCH).collect();
            if records.is_empty() {
                return;
            }
            match self.send(records.iter().flat_map(Record::spans).collect()).await {
                Ok(()) => self.succeeded(records.len()),
                Err(fault) => return self.failed(records.len(), &fault),
            }
        }
    }

    async fn send(&self, spans: Vec<Span>) -> Result<(), FetchFault> {
        let scope = InstrumentationScope { name: "ownergate".into(), version: VERSION.into(), ..Default::default() };
        let scope_spans = vec![ScopeSpans { scope: Some(scope), spans, ..ScopeSpans::default() }];
        let resource = Some(self.resource.clone());
        let batch = ResourceSpans { resource, scope_spans, ..ResourceSpans::default() };
        let request = ExportTraceServiceRequest { resource_spans: vec![batch] };
        let kind = HeaderValue::from_static("application/x-protobuf");
        self.fetcher.post(&self.collector, kind, request.encode_to_vec().into()).await
    }

    fn succeeded(&mut self, count: usize) {
        counter!(TRACES, "outcome" => "exported").increment(count as u64);
        self.delay = DELAY;
        if let Some(outage) = self.outage.take() {
            info!(lost = outage.lost, "the collector takes traces again");
        }
    }

    /// Takes note of a batch that is lost: who sends it again may burden a collector that is just coming back.
    fn failed(&mut self, count: usize, fault: &FetchFault) {
        counter!(TRACES, "outcome" => "failed").increment(count as u64);
        self.delay = (self.delay * 2).min(LONGEST_DELAY);
        let now = Instant::now();
        let (lost, silent) = match &self.outage {
            Some(outage) => (outage.lost + count, now < outage.told + CALM),
            None => (count, false),
        };
        if !silent {
            warn!(error = chain(fault), lost, "traces could not be sent");
        }
        let told = if silent { self.outage.as_ref().map_or(now, |outage| outage.told) } else { now };
        self.outage = Some(Outage { told, lost });
    }
}

impl Export {
    /// Sends what still waits, in the little time that a stop may take for it.
    pub async fn finish(self) {
        // Whoever has ended already has nothing left to send.
        let _ = self.stop.send(());
        drop(timeout(FLUSH, self.task).await);
    }
}
