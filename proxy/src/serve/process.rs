//! What the system knows of this process, under the names that Prometheus' own clients use.

use metrics::{Unit, counter, describe_counter, describe_gauge, gauge};
use procfs::{
    ProcError, WithCurrentSystemInfo, boot_time_secs,
    process::{LimitValue, Process},
    ticks_per_second,
};

const CPU: &str = "process_cpu_seconds_total";
const RESIDENT: &str = "process_resident_memory_bytes";
const VIRTUAL: &str = "process_virtual_memory_bytes";
const OPEN_FILES: &str = "process_open_fds";
const MOST_FILES: &str = "process_max_fds";
const STARTED: &str = "process_start_time_seconds";
const THREADS: &str = "process_threads";

pub(super) fn describe() {
    describe_counter!(CPU, Unit::Seconds, "User and system time");
    describe_gauge!(RESIDENT, Unit::Bytes, "Memory that is resident");
    describe_gauge!(VIRTUAL, Unit::Bytes, "Memory that is mapped");
    describe_gauge!(OPEN_FILES, "File descriptors that are open");
    describe_gauge!(MOST_FILES, "File descriptors that may be open");
    describe_gauge!(STARTED, Unit::Seconds, "When the process started, in Unix time");
    describe_gauge!(THREADS, "Threads");
}

/// Looks at the process as it is now.
///
/// # Errors
/// When `/proc` cannot be read, as where it is not mounted.
pub(super) fn look() -> Result<(), ProcError> {
    let process = Process::myself()?;
    let stat = process.stat()?;
    let ticks = ticks_per_second();
    counter!(CPU).absolute((stat.utime + stat.stime) / ticks);
    gauge!(RESIDENT).set(stat.rss_bytes().get() as f64);
    gauge!(VIRTUAL).set(stat.vsize as f64);
    gauge!(THREADS).set(stat.num_threads as f64);
    gauge!(STARTED).set(boot_time_secs()? as f64 + stat.starttime as f64 / ticks as f64);
    gauge!(OPEN_FILES).set(process.fd_count()? as f64);
    if let LimitValue::Value(most) = process.limits()?.max_open_files.soft_limit {
        gauge!(MOST_FILES).set(most as f64);
    }
    Ok(())
}
