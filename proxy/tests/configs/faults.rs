//! Broken files and, word by word, what is said of them.

use std::fmt::Write as _;

use crate::kit::{Setup, toml};

const ISSUER: &str = "[[issuer]]\nname = \"id\"\nsecret_file = \"secret.txt\"\n";
const UPSTREAM: &str = "[upstream.tasks]\nurl = \"http://backend:8081\"\n";

/// A file, made whole by what it does not speak of, with files and variables that it may name.
fn broken(text: &str) -> Setup {
    let mut whole = text.to_owned();
    for (table, rest) in [("[[issuer]]", ISSUER), ("[upstream", UPSTREAM)] {
        if !text.contains(table) {
            whole.push_str(rest);
        }
    }
    toml(&whole)
        .file("c/key.pem", "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n")
        .file("c/id_rsa.pub", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINdamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea me\n")
        .file("c/binary", [0xff; 40])
        .variable("EMPTY", "")
        .variable("BLANK", "                                        ")
        .variable("SHORT", "fifteen bytes!!")
        .variable("DEFAULT", "better-auth-secret-12345678901234567890")
}

#[test]
fn every_fault_is_told_in_one_run_with_its_place_what_was_found_and_what_was_wanted() {
    let table = include_str!("broken.txt");
    let mut told = String::new();
    let mut cases = 0;
    for case in table.split("=== ").skip(1) {
        let (title, rest) = case.split_once('\n').expect("a title");
        let (text, _) = rest.split_once("---\n").expect("a file and its faults");
        writeln!(told, "=== {title}\n{text}---\n{}", broken(text).faults()).expect("a text takes any text");
        cases += 1;
    }
    assert!(cases >= 60, "{cases} broken files");
    if told != table {
        let other = told.lines().zip(table.lines()).find(|(told, wanted)| told != wanted);
        panic!("what is told is now another; first at {other:#?}; the whole:\n{told}");
    }
}
