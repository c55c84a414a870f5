//! Protocol upgrades (RFC 9110 §7.8): tunnelled once the upstream has agreed with 101, and ended with the caller's token.

use std::{future::poll_fn, rc::Rc, task::Poll, time::Duration};

use http::{HeaderMap, HeaderValue, Response, header, request::Parts};
use hyper::{
    body::Incoming,
    upgrade::{OnUpgrade, Upgraded},
};

use super::{capacity::Slot, connection::Link, tunnel::Tunnel, watch::Watch, websocket::Farewell};
use crate::decide::named_by;

/// For both sides of a WebSocket to come to the end of a frame, and to take the last one.
const LEAVE: Duration = Duration::from_secs(1);

/// A client's wish to go on in another protocol.
pub(super) struct Wish {
    protocol: HeaderValue,
    client: OnUpgrade,
}

/// Takes the wish out of a request. HTTP/2 over plain text is not spoken through an upgrade, so `h2c` is none.
pub(super) fn asked(parts: &mut Parts) -> Option<Wish> {
    let client = parts.extensions.remove::<OnUpgrade>()?;
    let named = parts.headers.get_all(header::CONNECTION).iter().flat_map(named_by).any(|name| name == header::UPGRADE);
    let protocol = parts.headers.get(header::UPGRADE).filter(|_| named)?;
    let clear_http2 =
        protocol.as_bytes().split(|byte| *byte == b',').any(|name| name.trim_ascii().eq_ignore_ascii_case(b"h2c"));
    (!clear_http2).then(|| Wish { protocol: protocol.clone(), client })
}

impl Wish {
    /// Puts the wish into the upstream's request.
    pub(super) fn set(&self, headers: &mut HeaderMap) {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, self.protocol.clone());
    }

    /// Joins both sides once the 101 has gone out, until either ends, the caller's token does, or the proxy drains. The
    /// request is in flight until then.
    pub(super) fn open(
        self,
        response: &mut Response<Incoming>,
        expires_in: Option<Duration>,
        link: &Rc<Link>,
        slot: Option<Slot>,
    ) {
        self.set(response.headers_mut());
        let is_websocket = self.protocol.as_bytes().eq_ignore_ascii_case(b"websocket");
        let upstream = hyper::upgrade::on(response);
        let link = Rc::clone(link);
        tokio::task::spawn_local(async move {
            let _slot = slot;
            let (Ok(client), Ok(upstream)) = (self.client.await, upstream.await) else { return };
            link.watch().tunnel(expires_in);
            join(client, upstream, is_websocket, link.watch()).await;
        });
    }
}

/// Whichever side breaks off, both are closed with it.
async fn join(client: Upgraded, upstream: Upgraded, is_websocket: bool, watch: &Watch) {
    let mut tunnel = Tunnel::new(client, upstream, is_websocket);
    let farewell = poll_fn(|cx| match tunnel.poll(cx) {
        Poll::Ready(_) => Poll::Ready(None),
        Poll::Pending if watch.poll_expired(cx).is_ready() => Poll::Ready(Some(Farewell::TokenExpired)),
        Poll::Pending if watch.is_draining() => Poll::Ready(Some(Farewell::GoingAway)),
        Poll::Pending => Poll::Pending,
    })
    .await;
    if farewell.is_some_and(|farewell| tunnel.close(farewell)) {
        // Whoever is not done by then is cut off.
        drop(tokio::time::timeout(LEAVE, poll_fn(|cx| tunnel.poll_closed(cx))).await);
    }
}
