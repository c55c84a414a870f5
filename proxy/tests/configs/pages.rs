//! The files to deploy load as they stand, and the reference page says what the code does.

use crate::kit::{JWKS, Setup, toml};

const EXAMPLE: &str = include_str!("../../../config/ownergate.toml");
const REFERENCE: &str = include_str!("../../../config/REFERENCE.md");

/// One row of the reference: a key of a table.
struct Row<'a> {
    key: &'a str,
    default: &'a str,
    example: &'a str,
}

/// What a table of the reference needs to be a configuration, a key a line.
const TABLES: [(&str, &str); 11] = [
    ("[server]", ""),
    ("[server.tls]", "certificate = \"cert.pem\"\nkey = \"key.pem\"\n"),
    ("[log]", ""),
    ("[traces]", "otlp = \"http://localhost:4318\"\n"),
    (
        "[[issuer]]",
        "name = \"id\"\njwks = \"https://id.example\"\nissuer = \"i\"\naudience = \"a\"\nrole_claim = \"r\"\n",
    ),
    ("[upstream.tasks]", "url = \"https://tasks\"\n"),
    ("[[route]]", "path = \"/api/{user_id}/**\"\naccess = \"signed-in\"\n"),
    ("[route.cors]", "origins = [\"https://app.example\"]\n"),
    ("[identity]", ""),
    ("[limits]", ""),
    ("[timeouts]", ""),
];

/// Keys that stand together, or instead of each other.
const TOGETHER: [(&str, &str); 2] =
    [("client_certificate", "client_key = \"key.pem\"\n"), ("client_key", "client_certificate = \"cert.pem\"\n")];
const INSTEAD: [(&str, &str); 3] = [("discovery", "jwks"), ("secret_env", "jwks"), ("secret_file", "jwks")];

fn rows(title: &str) -> Vec<Row<'_>> {
    let title = format!("\n## `{}`\n", title.replace("tasks", "NAME"));
    let section = REFERENCE.split(title.as_str()).nth(1).expect("a section of the reference");
    let section = section.split("\n## ").next().unwrap_or(section);
    let code = |cell: &'static str| cell.trim().trim_matches('`');
    let cells =
        section.lines().filter(|line| line.starts_with("| `")).map(|line| line.split(" | ").collect::<Vec<_>>());
    cells.map(|cells| Row { key: code(&cells[0][2..]), default: cells[3].trim(), example: code(cells[4]) }).collect()
}

/// A configuration with one line more in one table, over whatever that table says of the key.
fn with(title: &str, key: &str, line: &str) -> Setup {
    let mut text = String::new();
    for (header, lines) in
        TABLES.iter().filter(|(header, _)| !["[server.tls]", "[route.cors]"].contains(header) || *header == title)
    {
        text.push_str(&format!("{header}\n"));
        let instead = INSTEAD.iter().find(|(one, _)| *header == title && *one == key).map(|(_, other)| *other);
        let over = |name: &str| *header == title && (name == key || Some(name) == instead);
        lines
            .lines()
            .filter(|line| !over(line.split(" = ").next().unwrap_or(line)))
            .for_each(|line| text.push_str(&format!("{line}\n")));
        if *header == title {
            text.push_str(line);
            text.push('\n');
            TOGETHER.iter().filter(|(one, _)| *one == key).for_each(|(_, other)| text.push_str(other));
        }
    }
    let pem = ["cert.pem", "key.pem", "ca.pem", "clients.pem"];
    let setup = pem.iter().fold(toml(&text), |setup, name| setup.file(&format!("c/{name}"), JWKS));
    let secret = "a secret of more than thirty-two bytes";
    setup.file("c/old-secret.txt", secret).variable("BETTER_AUTH_SECRET", secret)
}

#[test]
fn the_reference_has_a_row_for_every_key_and_no_other() {
    for (title, _) in TABLES {
        let faults = with(title, "", "unheard_of = 1").faults();
        let known = faults.split("found an unknown key, wanted one of ").nth(1).expect("a list of keys");
        let mut known: Vec<&str> =
            known.lines().next().unwrap_or(known).split("; did").next().unwrap_or(known).split(", ").collect();
        let mut listed: Vec<&str> = rows(title).iter().map(|row| row.key).collect();
        known.sort_unstable();
        listed.sort_unstable();
        assert_eq!(listed, known, "{title}");
    }
}

#[test]
fn every_example_of_the_reference_loads() {
    for (title, _) in TABLES {
        for Row { key, example, .. } in rows(title) {
            with(title, key, &format!("{key} = {example}")).config();
        }
    }
}

#[test]
fn every_default_of_the_reference_is_what_holds_where_nothing_is_said() {
    let mut checked = 0;
    for (title, _) in TABLES {
        for Row { key, default, .. } in rows(title) {
            if let Some(default) = default.strip_prefix('`').and_then(|default| default.strip_suffix('`')) {
                assert_eq!(
                    with(title, key, &format!("{key} = {default}")).config(),
                    with(title, key, "").config(),
                    "{key}"
                );
                checked += 1;
            }
        }
    }
    assert!(checked > 20, "{checked} defaults");
}

#[test]
fn the_files_to_deploy_load_as_they_stand() {
    let compose = [include_str!("../../../config/compose.toml"), include_str!("../../../config/replicas.toml")];
    for text in [EXAMPLE].into_iter().chain(compose) {
        assert_eq!(toml(text).warnings(), "");
    }
    let config = toml(EXAMPLE).config();
    assert_eq!(config.policy.routes().len(), 3);
}

#[test]
fn what_the_example_has_in_comments_are_keys_too() {
    let lines: Vec<&str> = EXAMPLE.lines().collect();
    let mut header = None;
    let mut checked = 0;
    for (place, line) in lines.iter().enumerate() {
        let bare = line.trim_start_matches("# ");
        if bare.starts_with('[') {
            header = line.starts_with('#').then_some(place);
        }
        let key = bare.split(['=', ' ']).next().unwrap_or(bare);
        if !line.starts_with("# ") || !bare[key.len()..].trim_start().starts_with('=') {
            continue;
        }
        let mut text = lines.clone();
        text[place] = bare;
        header.into_iter().for_each(|place: usize| text[place] = lines[place].trim_start_matches("# "));
        if let Err(faults) = toml(&text.join("\n")).load() {
            let unknown = faults.iter().find(|fault| fault.found.contains("unknown") || fault.found.contains("TOML"));
            assert_eq!(unknown, None, "{bare}");
        }
        checked += 1;
    }
    assert!(checked > 40, "{checked} keys");
}
