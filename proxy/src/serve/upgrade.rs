//! Protocol upgrades (RFC 9110 §7.8): tunnelled once the upstream has agreed with 101, and ended with the caller's token.

use std::{future::poll_fn, rc::Rc, task::Poll, time::Duration};

use http::{HeaderMap, HeaderValue, Response, header, request::Parts};
use hyper::{
    body::Incoming,
    upgrade::{OnUpgrade, Upgraded},
};
use hyper_util::rt::TokioIo;

use super::{connection::Link, watch::Watch};
use crate::decide::named_by;

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

    /// Joins both sides once the 101 has gone out, until either ends, the caller's token does, or the proxy drains.
    pub(super) fn open(self, response: &mut Response<Incoming>, expires_in: Option<Duration>, link: &Rc<Link>) {
        self.set(response.headers_mut());
        let upstream = hyper::upgrade::on(response);
        let link = Rc::clone(link);
        tokio::task::spawn_local(async move {
            let (Ok(client), Ok(upstream)) = (self.client.await, upstream.await) else { return };
            link.watch().tunnel(expires_in);
            tokio::select! {
                () = join(client, upstream) => {}
                () = ended(link.watch()) => {}
            }
        });
    }
}

async fn ended(watch: &Watch) {
    poll_fn(|context| match watch.poll_expired(context) {
        Poll::Pending if !watch.is_draining() => Poll::Pending,
        Poll::Pending | Poll::Ready(()) => Poll::Ready(()),
    })
    .await;
}

async fn join(client: Upgraded, upstream: Upgraded) {
    let (mut client, mut upstream) = (TokioIo::new(client), TokioIo::new(upstream));
    // Whichever side breaks off, both are closed with it.
    drop(tokio::io::copy_bidirectional(&mut client, &mut upstream).await);
}
