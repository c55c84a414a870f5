//! The data plane and what keeps it fresh: everything here touches sockets, clocks and files.
//!
//! [`Proxy::bind`] takes the listeners, [`Proxy::run`] serves until the caller's shutdown future ends. Each core has a
//! worker with a runtime, listeners, upstream pools and a cache of verified tokens of its own; nothing that workers
//! share is locked while a known token is served.

pub mod admin;
pub mod child;
pub mod jwks;
pub mod log;
pub mod metrics;
mod proxy;
mod record;
pub mod reload;
mod state;
mod telemetry;

pub use proxy::{BindFault, Control, Drained, Proxy};
pub use record::{Exchange, Observer, Silent};
pub use state::{State, StateFault};
pub use telemetry::Telemetry;
