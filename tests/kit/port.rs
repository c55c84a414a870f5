//! Ports for the binaries, which want to be told one.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use socket2::{Domain, Socket, Type};

/// Below every system's ephemeral range, so that no outgoing connection takes a port between here and the binary's bind.
const FIRST: u32 = 20_000;
const COUNT: u32 = 12_000;

/// A loopback address that nobody listens on and that this process hands out once.
///
/// Processes start at different places of the range, so that two test runs side by side don't meet.
pub fn free() -> SocketAddr {
    static NEXT: OnceLock<AtomicU32> = OnceLock::new();
    let next = NEXT.get_or_init(|| AtomicU32::new(std::process::id().wrapping_mul(331)));
    for _ in 0..COUNT {
        let port = FIRST + next.fetch_add(1, Ordering::Relaxed) % COUNT;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, u16::try_from(port).expect("a port")));
        if is_free(address).is_ok() {
            return address;
        }
    }
    panic!("no free port on loopback from {FIRST} to {}", FIRST + COUNT);
}

/// Asks without listening. A child that another test is starting holds a copy of every socket until its program runs:
/// a copy that listened would take connections that are meant for whoever gets the port.
fn is_free(address: SocketAddr) -> io::Result<()> {
    let probe = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    probe.set_reuse_address(true)?;
    probe.bind(&address.into())
}
