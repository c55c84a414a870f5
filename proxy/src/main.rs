//! The `ownergate` command.

mod command;

use std::process::ExitCode;

use mimalloc::MiMalloc;
use ownergate::{config::Flags, serve::systemd::Inherited};

/// Small short-lived blocks on many threads, which is what an exchange allocates, are what it is made for. Without huge
/// pages: with them every buffer takes its whole size, however little of it is used.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    let flags = match Flags::read(std::env::args_os()) {
        Ok(flags) => flags,
        Err(fault) => {
            // Nowhere is left to say that the terminal is gone.
            let _ = fault.print();
            return if fault.use_stderr() { ExitCode::from(command::USAGE) } else { ExitCode::SUCCESS };
        }
    };
    // The one place that reads the environment, but for what the service manager says in it.
    let environment = std::env::vars_os().collect();
    command::dispatch(flags, environment, Inherited::from_manager()).unwrap_or_else(|fault| {
        eprintln!("{fault:#}");
        fault.exit_code()
    })
}
