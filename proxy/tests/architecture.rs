//! The house rules that the compiler cannot check: what is pure stays pure, and permits have one maker.

use std::{fs, path::Path};

/// Every Rust file below a folder of this package but test fixtures, as (path, text without its tests).
fn sources(folder: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a readable source tree") {
            let path = entry.expect("a readable source tree").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs")
                && !path.ends_with("decide/fixture.rs")
            {
                let text = fs::read_to_string(&path).expect("a readable source tree");
                let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default().to_owned();
                found.push((path.display().to_string(), code));
            }
        }
    }
    assert!(!found.is_empty(), "{folder} has no sources");
    found
}

fn code_lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim_start).filter(|line| !line.starts_with("//"))
}

fn assert_free_of(folder: &str, words: &[&str]) {
    for (path, text) in sources(folder) {
        for line in code_lines(&text) {
            for word in words {
                assert!(!line.contains(word), "{path} must not use {word}: {line}");
            }
        }
    }
}

const EFFECTS: [&str; 11] = [
    "tokio",
    "hyper",
    "tracing",
    "std::fs",
    "std::env",
    "std::process",
    "SystemTime",
    "Instant",
    "TcpStream",
    "println!",
    "unsafe",
];

#[test]
fn the_decision_touches_no_clock_socket_file_log_or_environment() {
    assert_free_of("decide", &EFFECTS);
}

#[test]
fn the_decision_imports_nothing_of_ours() {
    assert_free_of("decide", &["crate::config", "crate::serve"]);
}

#[test]
fn the_decision_cannot_panic_by_its_own_words() {
    assert_free_of("decide", &[".unwrap()", ".expect(", "panic!", "unreachable!", "todo!"]);
}

#[test]
fn configuration_is_text_to_types_and_reads_nothing_itself() {
    assert_free_of("config", &EFFECTS);
    assert_free_of("config", &["crate::serve"]);
}

#[test]
fn permits_identities_and_what_goes_onward_have_one_maker_each() {
    for (path, text) in sources("") {
        let makes = |name: &str| {
            code_lines(&text).any(|line| {
                line.contains(&format!("{name} {{"))
                    && !line.contains("struct ")
                    && !line.contains("impl ")
                    && !line.contains("->")
            })
        };
        assert!(!makes("Permit") || path.ends_with("decide/gate.rs"), "{path} makes a Permit");
        assert!(!makes("Identity") || path.ends_with("decide/verify.rs"), "{path} makes an Identity");
        assert!(!makes("Onward") || path.ends_with("decide/headers.rs"), "{path} makes an Onward");
    }
}
