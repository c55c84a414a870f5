#![no_main]
//! A PROXY header ends where its version says, whoever wrote it, and what follows it has no say in it.

use std::{
    future::Future,
    pin::pin,
    task::{Context, Poll, Waker},
};

use libfuzzer_sys::fuzz_target;
use ownergate::decide::Client;

// As the reader of the proxy's own source knows it: it is no part of the library's surface.
mod decide {
    pub use ownergate::decide::Client;
}

#[path = "../../src/serve/proxy_protocol.rs"]
mod proxy_protocol;

/// Who the client is found to be, and how many bytes told it.
fn read(bytes: &[u8]) -> Option<(Client, usize)> {
    let mut rest = bytes;
    let outcome =
        pin!(proxy_protocol::read(&mut rest, Client::new(None, false))).poll(&mut Context::from_waker(Waker::noop()));
    let Poll::Ready(client) = outcome else { panic!("a slice is never waited for") };
    client.ok().map(|client| (client, bytes.len() - rest.len()))
}

fuzz_target!(|data: &[u8]| {
    if let Some((client, length)) = read(data) {
        let (header, _) = data.split_at(length);
        if header.starts_with(b"PROXY ") {
            assert!(length <= 107 && header.ends_with(b"\r\n"));
            assert_eq!(header.windows(2).filter(|end| *end == b"\r\n").count(), 1);
        } else {
            assert_eq!(length, 16 + usize::from(u16::from_be_bytes([header[14], header[15]])));
        }
        assert_eq!(read(header), Some((client, length)));
        assert!(read(&header[..length - 1]).is_none(), "a header that is cut off tells nothing");
    }
});
