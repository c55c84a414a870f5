//! Gates of a configuration file.

use e2e::key::Key;
use e2e::recorder::Recorder;
use e2e::stack::{Proxy, SECRET, Setup};

use crate::gate::Gate;

/// The issuer of [`SECRET`], under the name `main`.
pub(crate) const MAIN: &str = r#"
    [[issuer]]
    name = "main"
    secret_file = "secret"
"#;

/// A route for each user's own paths.
pub(crate) const OWNER: &str = r#"
    [[route]]
    path = "/api/{user_id}/**"
    access = { owner = "user_id" }
    upstream = "app"
"#;

/// A gate of this configuration, with [`SECRET`] in the file `secret` and the backend under the name `app`.
pub(crate) fn configured(toml: &str) -> Gate {
    configured_before(Recorder::start(), toml)
}

pub(crate) fn configured_before(backend: Recorder, toml: &str) -> Gate {
    let proxy = setup(&backend, toml).start();
    Gate::of(backend, proxy, Key::shared(SECRET))
}

/// A gate that need not be ready: of issuers that give no keys.
pub(crate) fn configured_unready(toml: &str) -> Gate {
    let backend = Recorder::start();
    let proxy = setup(&backend, toml).start_unready();
    Gate::of(backend, proxy, Key::shared(SECRET))
}

fn setup(backend: &Recorder, toml: &str) -> Setup {
    let toml = format!("{toml}\n[upstream.app]\nurl = \"{}\"\n", backend.url());
    Proxy::configured(&toml).file("secret", SECRET)
}

/// One more route to the same backend.
pub(crate) fn route(path: &str, rest: &str) -> String {
    format!("[[route]]\npath = \"{path}\"\nupstream = \"app\"\n{rest}\n")
}
