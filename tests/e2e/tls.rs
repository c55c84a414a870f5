//! TLS on both sides of the proxy: one stands in front of another, which has the certificate and a backend.

use std::io::copy;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use e2e::http2::{Frame, Frames};
use e2e::key::Key;
use e2e::recorder::Recorder;
use e2e::request::Request;
use e2e::socket::Address;
use e2e::stack::{Proxy, SECRET};
use e2e::token::Token;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::configured::{MAIN, OWNER};
use crate::gate::Gate;
use crate::http2::request;

/// A certificate for `localhost`, and its key.
fn certificate() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    (made.cert.pem(), made.signing_key.serialize_pem())
}

/// A gate that reaches `backend` through a second proxy behind TLS, and that proxy. The second is spoken to in
/// `protocol`; the backend speaks `backends`.
pub(crate) fn behind_tls(backend: Recorder, protocol: &str, backends: &str) -> (Gate, Proxy) {
    let (certificate, key) = certificate();
    let upstream = |protocol: &str, url: &str| format!("[upstream.app]\nprotocol = \"{protocol}\"\nurl = \"{url}\"\n");
    let tls = "[server.tls]\ncertificate = \"cert.pem\"\nkey = \"key.pem\"\n";
    let forward = "forward_credentials = true\n";
    let inner = format!("{MAIN}{OWNER}{tls}{}", upstream(backends, &backend.url()));
    let inner = Proxy::configured(&inner).file("secret", SECRET).file("cert.pem", &certificate).file("key.pem", key);
    let inner = inner.start();
    let Address::Tcp(address) = &inner.address else { panic!("it listens on TCP") };
    let outer = upstream(protocol, &format!("https://localhost:{}", address.port()));
    let outer = format!("{MAIN}{OWNER}{forward}{outer}ca = \"cert.pem\"\n");
    let outer = Proxy::configured(&outer).file("secret", SECRET).file("cert.pem", certificate).start();
    (Gate::of(backend, outer, Key::shared(SECRET)), inner)
}

#[test]
fn both_protocols_are_agreed_on_within_tls() {
    for (protocol, version) in [("http/1.1", "HTTP/1.1"), ("http/2", "HTTP/2.0")] {
        let (gate, inner) = behind_tls(Recorder::start(), protocol, "http/1.1");
        let received = gate.forwards(&gate.by_alice("/api/alice/x"));
        assert_eq!(received.user(), b"alice");
        assert_eq!(received.head.values("x-forwarded-proto"), ["https"], "{protocol}");
        assert_eq!(received.head.values("host"), ["app.test"], "{protocol}");
        let line = inner.process.wait_for_line("/api/alice/x");
        assert!(line.contains(version), "{protocol}: {line}");
    }
}

#[test]
fn grpc_passes_through_two_proxies_and_tls() {
    let backend = Recorder::by_hand(|conversation, _| {
        let Some(mut frames) = Frames::serving(conversation, &[]) else { return };
        while let Some(stream) = frames.accept() {
            frames.send(&Frame::headers(stream, &[(":status", "200"), ("content-type", "application/grpc")], false));
            let message = frames.message(stream);
            frames.send(&Frame::data(stream, message.content, false));
            frames.send(&Frame::headers(stream, &[("grpc-status", "0")], true));
        }
    });
    let (gate, _inner) = behind_tls(backend, "http/2", "http/2");
    let authorization = gate.authorization();
    let mut frames = gate.speak();
    let stream =
        frames.ask(&[request("POST", "/api/alice/Call", &authorization), vec![("te", "trailers")]].concat(), false);
    frames.until(stream, |message| !message.fields.is_empty());
    frames.send(&Frame::data(stream, "echo", true));
    let message = frames.message(stream);
    assert_eq!((&message.content[..], message.trailer("grpc-status").as_deref()), (&b"echo"[..], Some("0")));
}

/// A server that agrees on one of these protocols within TLS, and says nothing in it.
fn agreeing_on(protocols: &[&str], certificate: &str, key: &str) -> SocketAddr {
    let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).expect("a certificate")];
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a key");
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key);
    let mut config = config.expect("they go together");
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let connection = ServerConnection::new(Arc::clone(&config)).expect("the configuration is good");
            let socket = socket.expect("it listens");
            // Until the other side has enough.
            let _ = copy(&mut StreamOwned::new(connection, socket), &mut std::io::sink());
        }
    });
    address
}

#[test]
fn an_upstream_that_does_not_agree_on_http2_is_unreachable_and_the_log_says_why() {
    let (certificate, key) = certificate();
    for protocols in [&[][..], &["http/1.1"]] {
        let port = agreeing_on(protocols, &certificate, &key).port();
        let upstream =
            format!("[upstream.app]\nprotocol = \"http/2\"\nurl = \"https://localhost:{port}\"\nca = \"cert.pem\"\n");
        let proxy = Proxy::configured(&format!("{MAIN}{OWNER}{upstream}"));
        let proxy = proxy.file("secret", SECRET).file("cert.pem", &certificate).start();
        let request = Request::get("/api/alice/x").bearer(&Token::of("alice").signed_by(&Key::shared(SECRET)));
        proxy.ask(&request).refused(502, "upstream_unreachable");
        let line = proxy.process.wait_for_line("upstream_unreachable");
        assert!(line.contains("the upstream does not speak HTTP/2"), "{protocols:?}: {line}");
    }
}
