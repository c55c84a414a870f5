//! A child process: its output kept line by line, its end awaited, itself ended by id.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::PATIENCE;

/// The lines a process has written so far, on both streams.
#[derive(Debug, Default)]
struct Log {
    lines: Mutex<Vec<String>>,
    grown: Condvar,
}

impl Log {
    fn lines(&self) -> MutexGuard<'_, Vec<String>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(self: Arc<Self>, stream: impl Read + Send + 'static) {
        thread::spawn(move || {
            let mut reader = BufReader::new(stream);
            let mut line = Vec::new();
            while reader.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
                self.lines().push(String::from_utf8_lossy(&line).trim_end().to_owned());
                self.grown.notify_all();
                line.clear();
            }
        });
    }
}

/// A running child in a process group of its own. Dropped, the whole group is killed; if the test failed, its output is shown.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: Arc<Log>,
}

impl Process {
    /// Starts `command` with its input closed and its output kept.
    pub fn start(name: &str, command: &mut Command) -> Self {
        Self::start_reading(name, command, Stdio::null())
    }

    /// Starts `command` with this input and its output kept.
    pub fn start_reading(name: &str, command: &mut Command, input: Stdio) -> Self {
        let mut child = command
            .stdin(input)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap_or_else(|fault| panic!("cannot start {name}: {fault}"));
        let log = Arc::<Log>::default();
        Arc::clone(&log).keep(child.stdout.take().expect("the output is piped"));
        Arc::clone(&log).keep(child.stderr.take().expect("the output is piped"));
        Self { name: name.to_owned(), child, log }
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Everything written so far.
    pub fn log(&self) -> String {
        self.log.lines().join("\n")
    }

    /// Waits for a line that holds `text` and returns it.
    #[track_caller]
    pub fn wait_for_line(&self, text: &str) -> String {
        self.wait_for_lines(text, 1).swap_remove(0)
    }

    /// Waits for so many lines that hold `text` and returns them, with those that have come beside them.
    #[track_caller]
    pub fn wait_for_lines(&self, text: &str, count: usize) -> Vec<String> {
        let found = |lines: &[String]| lines.iter().filter(|line| line.contains(text)).cloned().collect::<Vec<_>>();
        let waiting = |lines: &mut Vec<String>| found(lines).len() < count;
        let waited = self.log.grown.wait_timeout_while(self.log.lines(), PATIENCE, waiting);
        let found = found(&waited.unwrap_or_else(PoisonError::into_inner).0);
        assert!(found.len() >= count, "{} wrote {text:?} {} times:\n{}", self.name, found.len(), self.log());
        found
    }

    /// Sends a signal by its name, such as `TERM`.
    pub fn signal(&self, name: &str) {
        // The shell's built-in: no code of ours may be unsafe, and the standard library sends SIGKILL alone.
        let sent = Command::new("sh").args(["-c", &format!("kill -{name} {}", self.id())]).status();
        assert!(sent.is_ok_and(|status| status.success()), "cannot send {name} to {}", self.name);
    }

    /// Lets it have so many files and sockets open, of which those that are open already are not closed.
    pub fn limit_files(&self, count: u32) {
        let arguments = [format!("--pid={}", self.id()), format!("--nofile={count}:")];
        let limited = Command::new("prlimit").args(arguments).status();
        assert!(limited.is_ok_and(|status| status.success()), "cannot limit the files of {}", self.name);
    }

    /// Ends it at once, as `kill -9` does, and waits until it is gone.
    pub fn kill(&mut self) {
        self.child.kill().expect("the child can be killed");
        self.child.wait().expect("the child can be waited for");
    }

    /// How it ended, or `None` while it runs.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("the child can be waited for")
    }

    /// Waits for its end and returns the exit code.
    #[track_caller]
    pub fn exit_code(&mut self, within: Duration) -> i32 {
        let status = poll(within, || self.ended());
        let status = status.unwrap_or_else(|| panic!("{} is still running:\n{}", self.name, self.log()));
        status.code().unwrap_or_else(|| panic!("{} was ended by a signal: {status}", self.name))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.ended().is_none() {
            // The group, for the sake of a supervised backend that would outlive a killed proxy.
            send("KILL", &format!("-{}", self.id()));
            let _ = self.child.wait();
        }
        if thread::panicking() {
            eprintln!("--- {} wrote:\n{}\n---", self.name, self.log());
        }
    }
}

/// Sends a signal with the shell's built-in: the standard library knows SIGKILL alone, and a system call is unsafe code.
fn send(name: &str, target: &str) -> bool {
    let sent = Command::new("sh").args(["-c", &format!("kill -s {name} -- {target}")]).status();
    sent.is_ok_and(|status| status.success())
}

/// Asks again and again, until there is an answer or the time is over.
pub fn poll<T>(within: Duration, mut question: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + within;
    loop {
        if let Some(answer) = question() {
            return Some(answer);
        }
        if Instant::now() >= deadline {
            return None;
        }
        thread::sleep(Duration::from_millis(5));
    }
}
