//! Where and how the proxy listens.

use std::{num::NonZeroUsize, path::PathBuf, sync::Arc};

use ipnet::IpNet;

use super::{
    Address, Fault, Warning, defaults,
    dump::Dump,
    peers::{Peers, network},
    section::Section,
    text::Text,
};

/// Where and how the proxy listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// The addresses for clients.
    pub listen: Vec<Address>,
    /// The address for health, readiness and metrics; `None` for off.
    pub admin: Option<Address>,
    /// Peers whose `X-Forwarded-*` are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Peers who begin each connection with a PROXY header that says who their client is.
    pub proxy_protocol: Peers,
    /// Hosts from which keys may be fetched over plain HTTP wherever they are.
    pub plain_http_hosts: Arc<[Box<str>]>,
    /// How its sockets are made.
    pub sockets: Sockets,
    /// TLS for clients.
    pub tls: Option<ServerTls>,
    /// Worker threads; `None` for one per core.
    pub workers: Option<NonZeroUsize>,
}

/// How sockets are made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sockets {
    /// Who may connect to a unix-domain socket, as `chmod` has it; `None` for what the umask leaves.
    pub mode: Option<u32>,
    /// Whether another proxy may listen on the same addresses.
    pub shared: bool,
}

/// PEM files for TLS with clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerTls {
    /// The certificate chain, leaf first.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
    /// Authorities that client certificates must come from; `None` asks for none.
    pub client_ca: Option<PathBuf>,
}

impl Server {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let loader = section.loader;
        let listen = section.some_parsed("listen", |text| Address::read_listener(text, loader));
        let admin = section.parsed("admin", |text| match text.value.as_str() {
            "off" => Ok(None),
            _ => Address::read(text, loader).map(Some).map_err(|fault| fault.advise("\"off\" turns it off")),
        });
        let server = Self {
            listen: listen.map_or_else(|| vec![Address::Tcp(defaults::LISTEN)], <[_]>::into_vec),
            admin: admin.unwrap_or(Some(Address::Tcp(defaults::ADMIN))),
            trusted_proxies: section.parsed_list("trusted_proxies", network).map_or_else(Vec::new, <[_]>::into_vec),
            proxy_protocol: Peers::read(section, "proxy_protocol"),
            plain_http_hosts: section
                .parsed_list("plain_http_hosts", Text::not_empty)
                .map(Arc::from)
                .unwrap_or_default(),
            sockets: Sockets {
                mode: section.parsed("socket_mode", mode),
                shared: section.boolean("share_addresses").unwrap_or(false),
            },
            tls: section.within_if_any("tls", ServerTls::read),
            workers: section
                .integer("workers", 1..=1024)
                .and_then(|count| NonZeroUsize::new(usize::try_from(count).ok()?)),
        };
        server.check_addresses(section);
        server.check_trust(section);
        server
    }

    pub(super) fn write(&self, dump: &mut Dump<'_>) {
        dump.table("[server]");
        let listen: Vec<String> = self.listen.iter().map(|address| dump.address(address)).collect();
        dump.list("listen", listen);
        dump.entry("admin", self.admin.as_ref().map_or_else(|| "off".to_owned(), |address| dump.address(address)));
        dump.list("trusted_proxies", &self.trusted_proxies);
        self.proxy_protocol.write("proxy_protocol", dump);
        dump.list("plain_http_hosts", &*self.plain_http_hosts);
        dump.optional("socket_mode", self.sockets.mode.map(|mode| format!("{mode:04o}")));
        dump.entry("share_addresses", self.sockets.shared);
        if let Some(workers) = self.workers {
            dump.number("workers", workers.get());
        }
        if let Some(tls) = &self.tls {
            dump.table("[server.tls]");
            dump.entry("certificate", dump.path(&tls.certificate));
            dump.entry("key", dump.path(&tls.key));
            dump.optional("client_ca", tls.client_ca.as_deref().map(|path| dump.path(path)));
        }
    }

    fn check_addresses(&self, section: &Section<'_>) {
        let taken = |place: usize, address: &Address| has_port(address) && self.listen[..place].contains(address);
        if let Some((_, address)) = self.listen.iter().enumerate().find(|(place, address)| taken(*place, address)) {
            section.loader.report(section.fault_at("listen", format!("{address} twice"), "each address once"));
        }
        if let Some(admin) = self.admin.as_ref().filter(|admin| has_port(admin) && self.listen.contains(admin)) {
            let found = format!("{admin}, where clients are served");
            section.loader.report(section.fault_at("admin", found, "an address of its own, or \"off\""));
        }
    }

    fn check_trust(&self, section: &Section<'_>) {
        for (key, networks) in
            [("trusted_proxies", &self.trusted_proxies), ("proxy_protocol", &self.proxy_protocol.networks)]
        {
            if networks.iter().any(|network| network.prefix_len() == 0) {
                let fault = section.fault_at(key, "", "");
                let message = "everybody is trusted to say who the client is; list the proxies' own networks".into();
                section.loader.warn(Warning { place: fault.place, key: fault.key, message });
            }
        }
    }
}

/// Port 0 is any free port, and so never taken.
fn has_port(address: &Address) -> bool {
    !matches!(address, Address::Tcp(address) if address.port() == 0)
}

impl ServerTls {
    fn read(section: &mut Section<'_>) -> Option<Self> {
        let loader = section.loader;
        section.require("certificate", "a PEM file of the certificate chain");
        section.require("key", "a PEM file of the private key");
        let certificate = section.parsed("certificate", |text| loader.file(text, "a PEM file of certificates"));
        let key = section.parsed("key", |text| loader.file(text, "a PEM file of a private key"));
        let client_ca = section.parsed("client_ca", |text| loader.file(text, "a PEM file of certificates"));
        Some(Self { certificate: certificate?, key: key?, client_ca })
    }
}

/// Permissions in octal digits.
fn mode(text: &Text) -> Result<u32, Fault> {
    let digits = text.value.len() <= 4 && text.value.bytes().all(|byte| byte.is_ascii_digit());
    let mode = u32::from_str_radix(&text.value, 8).ok().filter(|mode| digits && *mode <= 0o777);
    mode.ok_or_else(|| text.fault("permissions in octal digits, such as \"0660\""))
}
