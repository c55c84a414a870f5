//! Sets of peers, by where they connect from.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{Fault, dump::Dump, section::Section, text::Text};

/// Peers that connect from certain networks, or over unix-domain sockets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peers {
    /// The networks.
    pub networks: Vec<IpNet>,
    /// Whether whoever connects to a unix-domain socket is meant too.
    pub unix: bool,
}

enum Peer {
    Network(IpNet),
    Unix,
}

impl Peers {
    /// Whether a peer of this address is one of them; a unix-domain socket's peer has none. An IPv4 address that came
    /// over an IPv6 socket is IPv4.
    pub fn include(&self, address: Option<IpAddr>) -> bool {
        address.map_or(self.unix, |address| {
            let address = address.to_canonical();
            self.networks.iter().any(|network| network.contains(&address))
        })
    }

    pub(super) fn read(section: &mut Section<'_>, name: &'static str) -> Self {
        let listed = section.parsed_list(name, |text| match text.value.as_str() {
            "unix" => Ok(Peer::Unix),
            _ => network(text).map(Peer::Network).map_err(|fault| fault.advise("\"unix\" means unix sockets")),
        });
        let mut peers = Self::default();
        for peer in listed.into_iter().flatten() {
            match peer {
                Peer::Network(network) => peers.networks.push(network),
                Peer::Unix => peers.unix = true,
            }
        }
        peers
    }

    pub(super) fn write(&self, name: &str, dump: &mut Dump<'_>) {
        let networks = self.networks.iter().map(ToString::to_string);
        dump.list(name, networks.chain(self.unix.then(|| "unix".to_owned())));
    }
}

/// A network, or an address alone.
pub(super) fn network(text: &Text) -> Result<IpNet, Fault> {
    let address = || text.value.parse().ok().map(|address: IpAddr| IpNet::from(address));
    let network: Option<IpNet> = text.value.parse().ok().or_else(address);
    network.map(|network| network.trunc()).ok_or_else(|| text.fault("a network such as 10.0.0.0/8, or an address"))
}
