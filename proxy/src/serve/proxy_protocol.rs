//! The PROXY protocol, versions 1 and 2: what a load balancer says of its client before the client's own first byte.
//!
//! Read only from peers that the configuration lists, who then owe it: a header that may be left out could be written
//! by any client that gets through. Specified at <https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt>.

use std::io;

use ppp::{v1, v2};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::decide::Client;

/// The longest line of version 1, its end included (§2.1).
const V1_BYTES: usize = 107;

/// The fixed part of version 2: signature, command, family, and the length of the rest (§2.2).
const V2_FIXED_BYTES: usize = 16;

/// The rest of version 2 that is accepted: addresses, and a few kilobytes of what else a balancer tells.
const V2_REST_BYTES: u16 = 4096;

/// `PP2_CLIENT_SSL`: the client spoke TLS with the balancer (§2.2.6).
const CLIENT_TLS: u8 = 1;

/// Why it is not known who the client is.
#[derive(Debug, thiserror::Error)]
pub(super) enum HeaderFault {
    #[error("the connection ended before its PROXY header")]
    Cut(#[from] io::Error),
    #[error("no PROXY header, or none that is valid")]
    Invalid,
}

/// Reads the header, and not a byte more. A balancer that speaks for itself, or does not know its client, leaves it at
/// the peer's own address.
///
/// # Errors
/// [`HeaderFault`] when there is no header, or one of no strict reading.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin), peer: Client) -> Result<Client, HeaderFault> {
    let mut header = vec![0; v2::PROTOCOL_PREFIX.len()];
    // Shorter than either version's shortest header.
    stream.read_exact(&mut header).await?;
    if header == v2::PROTOCOL_PREFIX {
        read_rest(stream, &mut header).await?;
        of_v2(&header, peer)
    } else if header.starts_with(b"PROXY ") {
        read_line(stream, &mut header).await?;
        of_v1(&header, peer)
    } else {
        Err(HeaderFault::Invalid)
    }
}

async fn read_rest(stream: &mut (impl AsyncRead + Unpin), header: &mut Vec<u8>) -> Result<(), HeaderFault> {
    let signature = header.len();
    header.resize(V2_FIXED_BYTES, 0);
    stream.read_exact(&mut header[signature..]).await?;
    let length = u16::from_be_bytes([header[V2_FIXED_BYTES - 2], header[V2_FIXED_BYTES - 1]]);
    if length > V2_REST_BYTES {
        return Err(HeaderFault::Invalid);
    }
    header.resize(V2_FIXED_BYTES + usize::from(length), 0);
    stream.read_exact(&mut header[V2_FIXED_BYTES..]).await?;
    Ok(())
}

/// One byte at a time, once a connection: what follows the line is not ours to take.
async fn read_line(stream: &mut (impl AsyncRead + Unpin), header: &mut Vec<u8>) -> Result<(), HeaderFault> {
    while !header.ends_with(b"\r\n") {
        if header.len() == V1_BYTES {
            return Err(HeaderFault::Invalid);
        }
        header.push(stream.read_u8().await?);
    }
    Ok(())
}

fn of_v1(header: &[u8], peer: Client) -> Result<Client, HeaderFault> {
    let header = v1::Header::try_from(header).map_err(|_| HeaderFault::Invalid)?;
    let address = match header.addresses {
        v1::Addresses::Tcp4(addresses) => addresses.source_address.into(),
        v1::Addresses::Tcp6(addresses) => addresses.source_address.into(),
        v1::Addresses::Unknown => return Ok(peer),
    };
    Ok(Client::new(Some(address), false))
}

fn of_v2(header: &[u8], peer: Client) -> Result<Client, HeaderFault> {
    let header = v2::Header::try_from(header).map_err(|_| HeaderFault::Invalid)?;
    let address = match (header.command, header.addresses) {
        (v2::Command::Local, _) | (v2::Command::Proxy, v2::Addresses::Unspecified) => return Ok(peer),
        (v2::Command::Proxy, _) if header.protocol != v2::Protocol::Stream => return Err(HeaderFault::Invalid),
        (v2::Command::Proxy, v2::Addresses::IPv4(addresses)) => Some(addresses.source_address.into()),
        (v2::Command::Proxy, v2::Addresses::IPv6(addresses)) => Some(addresses.source_address.into()),
        (v2::Command::Proxy, v2::Addresses::Unix(_)) => None,
    };
    Ok(Client::new(address, spoke_tls(&header)?))
}

fn spoke_tls(header: &v2::Header<'_>) -> Result<bool, HeaderFault> {
    let mut tls = false;
    for field in header.tlvs() {
        let field = field.map_err(|_| HeaderFault::Invalid)?;
        if field.kind == v2::Type::SSL as u8 {
            let [client, _, _, _, _, ..] = &*field.value else { return Err(HeaderFault::Invalid) };
            tls = client & CLIENT_TLS != 0;
        }
    }
    Ok(tls)
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn peer() -> Client {
        Client::new(Some(IpAddr::from([10, 0, 0, 1])), false)
    }

    /// What is read of the header, and what is left for who reads next.
    fn of(bytes: &[u8]) -> (Result<Client, HeaderFault>, Vec<u8>) {
        let mut rest = bytes;
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let client = runtime.block_on(read(&mut rest, peer()));
        (client, rest.to_vec())
    }

    fn client(bytes: &[u8]) -> Option<Client> {
        let (client, rest) = of(&[bytes, b"GET / HTTP/1.1\r\n"].concat());
        let client = client.ok()?;
        assert_eq!(rest, b"GET / HTTP/1.1\r\n", "{}", bytes.escape_ascii());
        Some(client)
    }

    fn at(address: &str, tls: bool) -> Option<Client> {
        Some(Client::new(Some(address.parse().unwrap()), tls))
    }

    /// Version 2 of this command, family and protocol, and rest.
    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [v2::PROTOCOL_PREFIX, &[0x20 | command, family], &length, rest].concat()
    }

    const IPV4: &[u8] = &[192, 0, 2, 7, 10, 0, 0, 1, 0xC0, 0, 0, 80];

    #[test]
    fn a_line_tells_the_client() {
        assert_eq!(client(b"PROXY TCP4 192.0.2.7 10.0.0.1 56324 443\r\n"), at("192.0.2.7", false));
        assert_eq!(client(b"PROXY TCP6 2001:db8::7 2001:db8::1 1 2\r\n"), at("2001:db8::7", false));
        let longest = format!("PROXY TCP6 {0} {0} 65535 65535\r\n", "ffff:".repeat(7) + "ffff");
        assert_eq!(client(longest.as_bytes()), at("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", false));
        assert_eq!(client(b"PROXY UNKNOWN\r\n"), Some(peer()));
        assert_eq!(client(b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n"), Some(peer()));
    }

    #[test]
    fn a_block_tells_the_client_and_its_tls() {
        assert_eq!(client(&v2(1, 0x11, IPV4)), at("192.0.2.7", false));
        let ipv6 = [&[0x20, 1, 0xD, 0xB8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7][..], &[0; 16], &[0, 1, 0, 2]].concat();
        assert_eq!(client(&v2(1, 0x21, &ipv6)), at("2001:db8::7", false));
        let with = |tls: u8| [IPV4, &[0x04, 0, 1, 0], &[0x20, 0, 5, tls, 0, 0, 0, 0]].concat();
        assert_eq!(client(&v2(1, 0x11, &with(1))), at("192.0.2.7", true));
        assert_eq!(client(&v2(1, 0x11, &with(6))), at("192.0.2.7", false), "a certificate without TLS is none");
        assert_eq!(client(&v2(1, 0x31, &[0; 216])), Some(Client::new(None, false)));
    }

    #[test]
    fn a_balancer_that_speaks_for_itself_keeps_its_address() {
        assert_eq!(client(&v2(0, 0x00, b"")), Some(peer()));
        assert_eq!(client(&v2(0, 0x11, IPV4)), Some(peer()));
        assert_eq!(client(&v2(1, 0x00, b"")), Some(peer()));
    }

    #[test]
    fn what_has_no_strict_reading_is_refused() {
        let long = [&b"PROXY UNKNOWN "[..], &[b'x'; 100], b"\r\n"].concat();
        for header in [
            &b"GET /api/alice/x HTTP/1.1\r\n"[..],
            b"proxy TCP4 192.0.2.7 10.0.0.1 1 2\r\n",
            b"PROXY TCP4 192.0.2.7 10.0.0.1 1 2\n",
            b"PROXY TCP4 192.0.2.7 10.0.0.1 1 65536\r\n",
            b"PROXY TCP4 192.0.2.7  10.0.0.1 1 2\r\n",
            b"PROXY TCP4 2001:db8::7 10.0.0.1 1 2\r\n",
            b"PROXY TCP4 192.0.2.07 10.0.0.1 1 2\r\n",
            b"PROXY TCP4 192.0.2.7 10.0.0.1 1 2\rX\r\n",
            b"PROXY UDP4 192.0.2.7 10.0.0.1 1 2\r\n",
            &long,
            &v2(2, 0x11, IPV4),
            &v2(1, 0x41, IPV4),
            &v2(1, 0x12, IPV4),
            &v2(1, 0x11, &IPV4[1..]),
            &v2(1, 0x11, &[IPV4, &[0x20, 0, 2, 1, 0]].concat()),
            &v2(1, 0x11, &[IPV4, &[0x20, 0, 9, 1]].concat()),
            &v2(1, 0x11, &[IPV4, &[0x04]].concat()),
            &v2(1, 0x11, &[0; 4097]),
            &[v2::PROTOCOL_PREFIX, &[0x11, 0x11, 0, 12], IPV4].concat(),
        ] {
            assert!(
                matches!(of(&[header, &[b'z'; 200]].concat()).0, Err(HeaderFault::Invalid)),
                "{}",
                header.escape_ascii()
            );
        }
        assert!(matches!(of(b"PROXY TCP4 192.0").0, Err(HeaderFault::Cut(_))));
        assert!(matches!(of(&v2(1, 0x11, IPV4)[..20]).0, Err(HeaderFault::Cut(_))));
    }
}
