//! One PostgreSQL server for all tests of this process, in a folder of its own, gone when the process is.
//!
//! The task service's own tests take this file as well: it stands alone.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

static SERVER: OnceLock<PathBuf> = OnceLock::new();

/// What the folders of the servers are called, before the number of the process.
const FOLDER: &str = "task-service-postgres-";

const MISSING: &str = "PostgreSQL is missing: apt-get install postgresql (its programs are looked for in \
                       /usr/lib/postgresql/*/bin and in the folder that POSTGRES_BIN names)";

/// Makes a database, or finds it; its URL. Of the name, letters and digits count.
pub fn database(name: &str) -> String {
    let name: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    let server = SERVER.get_or_init(start);
    let url = |database: &str| format!("postgres://postgres@/{database}?host={}", server.display());
    let there = psql(&url("postgres"), &format!("SELECT 1 FROM pg_database WHERE datname = '{name}'"));
    if there.is_empty() {
        psql(&url("postgres"), &format!("CREATE DATABASE \"{name}\""));
    }
    url(&name)
}

/// Runs a statement; its answer as text.
pub fn psql(url: &str, sql: &str) -> String {
    let output = client(url).args(["-c", sql]).output().expect("psql can be run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("psql answers in UTF-8").trim().to_owned()
}

/// The client, for statements on its standard input.
pub fn client(url: &str) -> Command {
    let mut command = Command::new(program("psql"));
    command.args(["-qAtX", "-v", "ON_ERROR_STOP=1", url]);
    command
}

fn program(name: &str) -> PathBuf {
    let named = std::env::var_os("POSTGRES_BIN").map(PathBuf::from);
    let debian =
        fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().map(|version| version.path().join("bin"));
    named.into_iter().chain(debian).map(|folder| folder.join(name)).find(|path| path.exists()).expect(MISSING)
}

/// Starts a server on a unix socket alone; the folder of the socket.
fn start() -> PathBuf {
    sweep();
    let folder = std::env::temp_dir().join(format!("{FOLDER}{}", std::process::id()));
    fs::create_dir(&folder).expect("the folder of the server can be made");
    let data = folder.join("data");
    if is_root() {
        let given = Command::new("chown").arg("postgres").arg(&folder).status();
        assert!(given.is_ok_and(|status| status.success()), "the folder cannot be given to postgres");
    }
    let made = unprivileged("initdb")
        .args(["--auth=trust", "--encoding=UTF8", "--no-sync", "-U", "postgres", "-D"])
        .arg(&data)
        .output()
        .expect("initdb can be run");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let mut server = unprivileged("postgres");
    server.arg("-D").arg(&data).arg("-k").arg(&folder).args(["-c", "listen_addresses=", "-c", "max_connections=500"]);
    // The processes that die in tests are those of the service; the server's own disk is not what is tested.
    server.args(["-c", "fsync=off"]).stdout(Stdio::null()).stderr(Stdio::null());
    // The server ends with the thread that starts it, so that is one that lives as long as the process.
    thread::spawn(move || server.status());
    wait(&folder);
    folder
}

/// Removes the folders of processes that have ended: nobody was left to do it then.
fn sweep() {
    for entry in fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let process = name.to_str().and_then(|name| name.strip_prefix(FOLDER));
        if process.is_some_and(|process| !Path::new("/proc").join(process).exists()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn wait(folder: &Path) {
    let started = Instant::now();
    let ready =
        || Command::new(program("pg_isready")).arg("-qh").arg(folder).status().is_ok_and(|asked| asked.success());
    while !ready() {
        assert!(started.elapsed() < Duration::from_secs(30), "PostgreSQL does not start");
        thread::sleep(Duration::from_millis(50));
    }
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

/// PostgreSQL refuses to run as root; whatever it is run by, it gets a signal when this process ends.
fn unprivileged(name: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "QUIT"]);
    if is_root() {
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]);
    }
    command.arg(program(name)).current_dir("/");
    command
}
