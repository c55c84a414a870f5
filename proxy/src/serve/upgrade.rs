//! Protocol upgrades (RFC 9110 §7.8): tunnelled once the upstream has agreed with 101, and ended with the caller's token.

use std::{
    rc::Rc,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use http::{HeaderMap, HeaderValue, Response, header, request::Parts};
use hyper::{
    body::Incoming,
    upgrade::{OnUpgrade, Upgraded},
};
use hyper_util::rt::TokioIo;

use super::worker::Worker;
use crate::decide::{Identity, named_by};

/// A client's wish to go on in another protocol.
pub(super) struct Tunnel {
    protocol: HeaderValue,
    client: OnUpgrade,
}

/// Takes the wish out of a request. HTTP/2 over plain text is not spoken through an upgrade, so `h2c` is none.
pub(super) fn asked(parts: &mut Parts) -> Option<Tunnel> {
    let client = parts.extensions.remove::<OnUpgrade>()?;
    let named = parts.headers.get_all(header::CONNECTION).iter().flat_map(named_by).any(|name| name == header::UPGRADE);
    let protocol = parts.headers.get(header::UPGRADE).filter(|_| named)?;
    let clear_http2 =
        protocol.as_bytes().split(|byte| *byte == b',').any(|name| name.trim_ascii().eq_ignore_ascii_case(b"h2c"));
    (!clear_http2).then(|| Tunnel { protocol: protocol.clone(), client })
}

impl Tunnel {
    /// Puts the wish into the upstream's request.
    pub(super) fn set(&self, headers: &mut HeaderMap) {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, self.protocol.clone());
    }

    /// Joins both sides once the 101 has gone out.
    pub(super) fn open(self, response: &mut Response<Incoming>, caller: Option<&Arc<Identity>>, worker: &Rc<Worker>) {
        self.set(response.headers_mut());
        let upstream = hyper::upgrade::on(response);
        let end = caller.map(|caller| until(caller));
        let worker = Rc::clone(worker);
        tokio::task::spawn_local(async move {
            let (Ok(client), Ok(upstream)) = (self.client.await, upstream.await) else { return };
            let joined = join(client, upstream);
            tokio::select! {
                () = joined => {}
                () = expiry(end) => {}
                () = worker.drained() => {}
            }
        });
    }
}

fn until(caller: &Identity) -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Duration::from_secs(caller.expires_at().as_unix()).saturating_sub(now)
}

async fn expiry(end: Option<Duration>) {
    match end {
        Some(end) => tokio::time::sleep(end).await,
        None => std::future::pending().await,
    }
}

async fn join(client: Upgraded, upstream: Upgraded) {
    let (mut client, mut upstream) = (TokioIo::new(client), TokioIo::new(upstream));
    // Whichever side breaks off, both are closed with it.
    drop(tokio::io::copy_bidirectional(&mut client, &mut upstream).await);
}
