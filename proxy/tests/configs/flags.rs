//! The command line, and faults and warnings of flags and variables.

use std::path::Path;

use ownergate::config::{Flags, IssuerConfig, Tool};

use crate::kit::{SECRET, Setup, setup};

const TWO: &str = "[[issuer]]\nname = \"a\"\nsecret_file = \"secret.txt\"\n[[issuer]]\nname = \"b\"\nissuer = \"b\"\n\
    secret_file = \"secret.txt\"\n[upstream.x]\nurl = \"http://x\"\n[upstream.y]\nurl = \"http://y\"\n\
    [[route]]\npath = \"/\"\naccess = \"public\"\nupstream = \"x\"\n";

fn parse(line: &[&str]) -> Flags {
    Flags::read(["ownergate"].iter().chain(line)).expect("legal flags")
}

#[test]
fn faults_of_flags_and_variables_are_told_by_their_names() {
    let upstream = || setup().flags(&["--upstream", "http://b:1"]);
    let secret = || upstream().flags(&["--secret-file", "secret.txt"]);
    let missing = "command line: issuer: found nothing, wanted a key source: --better-auth, --jwks, --secret-file, \
        BETTER_AUTH_SECRET, or [[issuer]] in a file\n\
        command line: upstream: found nothing, wanted the application: --upstream URL, OWNERGATE_UPSTREAM, or \
        [upstream.NAME] with a url in a file";
    let wanted_secret = "wanted a random secret of at least 32 bytes, such as from `openssl rand -base64 32`";
    let table: Vec<(Setup, String)> = vec![
        (setup(), missing.into()),
        (
            secret().flags(&["--listen", "x", "--listen", "y", "--admin", "z"]),
            "--admin: found \"z\", wanted IP:PORT, localhost:PORT or unix:/PATH; \"off\" turns it off\n\
             --listen: found \"x\", wanted IP:PORT, localhost:PORT, unix:/PATH, systemd or systemd:NAME\n\
             --listen: found \"y\", wanted IP:PORT, localhost:PORT, unix:/PATH, systemd or systemd:NAME"
                .into(),
        ),
        (
            secret().variable("OWNERGATE_WORKERS", "many").variable("OWNERGATE_LISTEN", ""),
            "OWNERGATE_LISTEN: found \"\", wanted IP:PORT, localhost:PORT, unix:/PATH, systemd or systemd:NAME\n\
             OWNERGATE_WORKERS: found \"many\", wanted a whole number from 1 to 1024"
                .into(),
        ),
        (
            secret().flags(&["--jwks", "jwks.json"]),
            "--secret-file: found a secret beside --jwks, wanted one key source; two issuers need a configuration file \
             (--config)"
                .into(),
        ),
        (
            upstream().flags(&["--secret", SECRET, "--better-auth", "http://localhost:3000"]),
            "--secret: found a secret beside --better-auth, wanted one key source; two issuers need a configuration \
             file (--config)"
                .into(),
        ),
        (
            upstream().variable("OWNERGATE_SECRET", SECRET).variable("OWNERGATE_JWKS", "jwks.json"),
            "OWNERGATE_SECRET: found a secret beside OWNERGATE_JWKS, wanted one key source; two issuers need a \
             configuration file (--config)"
                .into(),
        ),
        (
            upstream().flags(&["--jwks", "jwks.json"]),
            "command line: issuer[0].audience: found nothing, wanted the aud of its tokens (--audience): with a key set it must be \
             checked\n\
             command line: issuer[0].issuer: found nothing, wanted the iss of its tokens (--issuer): with a key set it must be \
             checked"
                .into(),
        ),
        (
            upstream().flags(&["--better-auth", "http://localhost:3000/api/auth"]),
            "--better-auth: found \"http://localhost:3000/api/auth\", wanted the origin of a Better Auth, such as \
             https://app.example, without a path"
                .into(),
        ),
        (upstream().flags(&["--secret", "short"]), format!("--secret: found a secret of 5 bytes, {wanted_secret}")),
        (upstream().variable("BETTER_AUTH_SECRET", ""), format!("BETTER_AUTH_SECRET: found an empty secret, {wanted_secret}")),
        (
            setup().flags(&["--config", "none.toml"]),
            "--config: found \"none.toml\", which cannot be read (entity not found), wanted a configuration file".into(),
        ),
        (
            setup().file("latin1.toml", b"# caf\xe9").variable("OWNERGATE_CONFIG", "latin1.toml"),
            "OWNERGATE_CONFIG: found \"latin1.toml\", which is not UTF-8, wanted a TOML file".into(),
        ),
        (
            setup()
                .file("two.toml", TWO)
                .flags(&["--config", "two.toml", "--issuer", "i", "--secret", SECRET, "--upstream", "http://b"]),
            "--issuer: found a setting for one issuer, where the file has several, wanted it in the issuer of the file \
             that is meant\n\
             --secret: found a setting for one issuer, where the file has several, wanted it in the issuer of the file \
             that is meant\n\
             --upstream: found a setting for one upstream, where the file has several, wanted it in the upstream of the \
             file that is meant"
                .into(),
        ),
    ];
    for (setup, faults) in table {
        assert_eq!(setup.faults(), faults);
    }
}

#[test]
fn what_is_unwise_or_has_no_effect_is_warned_of() {
    let upstream = || setup().flags(&["--upstream", "http://b:1"]);
    let table = [
        (upstream().flags(&["--secret-file", "secret.txt"]), ""),
        (
            upstream().flags(&["--secret", "twenty bytes, no more"]),
            "--secret: a secret on the command line can be read by every user of this machine; use a file\n\
             --secret: the secret has 21 bytes; use a random secret of at least 32 bytes, such as from `openssl rand \
             -base64 32`",
        ),
        (
            upstream().flags(&["--better-auth", "http://localhost"]).variable("OWNERGATE_SECRET", SECRET),
            "OWNERGATE_SECRET: is ignored: a flag says where keys come from",
        ),
        (
            upstream()
                .flags(&["--secret-file", "secret.txt"])
                .variable("OWNERGATE_LISTN", "127.0.0.1:1")
                .variable("OWNERGATE_SERVICE_HOST", "10.0.0.1")
                .variable("OWNERGATE_PORT_8080_TCP", "tcp://10.0.0.1:8080"),
            "OWNERGATE_LISTN: is ignored: no setting has this name; did you mean OWNERGATE_LISTEN?",
        ),
        (
            upstream().flags(&["--secret-file", "secret.txt", "--trusted-proxy", "0.0.0.0/0"]),
            "--trusted-proxy: everybody is trusted to say who the client is; list the proxies' own networks",
        ),
        (
            upstream().flags(&["--secret-file", "secret.txt", "--otlp", "http://localhost:4317"]),
            "--otlp: 4317 is the port of OTLP over gRPC; what is sent is OTLP over HTTP, usually at 4318",
        ),
    ];
    for (setup, warnings) in table {
        assert_eq!(setup.warnings(), warnings);
    }
}

#[test]
fn of_a_secret_file_one_final_newline_is_dropped() {
    for (content, key) in [
        (SECRET.to_owned(), SECRET.to_owned()),
        (format!("{SECRET}\n"), SECRET.to_owned()),
        (format!("{SECRET}\r\n"), SECRET.to_owned()),
        (format!("{SECRET}\n\n"), format!("{SECRET}\n")),
        (format!(" {SECRET} "), format!(" {SECRET} ")),
    ] {
        let config = setup().file("s", content).flags(&["--upstream", "http://b:1", "--secret-file", "s"]).config();
        let ownergate::config::KeySource::Secrets(secrets) = &config.issuers[0].keys else { panic!("a secret") };
        assert_eq!(secrets[0].expose(), key.as_bytes());
    }
}

#[test]
fn flags_may_follow_a_tool_and_a_command_follows_two_dashes() {
    let flags = parse(&["explain", "GET", "/api/alice", "--config", "o.toml", "--token", "t.o.k"]);
    assert_eq!(flags.settings.config.as_deref(), Some("o.toml"));
    let Some(Tool::Explain(explain)) = &flags.tool else { panic!("explain") };
    assert_eq!((explain.method.as_str(), explain.path.as_str()), ("GET", "/api/alice"));
    assert!(!format!("{flags:?}").contains("t.o.k"));
    let flags = parse(&["--upstream", "http://b", "--secret", "hush", "--", "check", "--listen", "x"]);
    assert!(flags.tool.is_none());
    assert_eq!(flags.child, ["check", "--listen", "x"]);
    assert!(!format!("{flags:?}").contains("hush"));
}

#[test]
fn help_names_every_variable_and_shows_no_value() {
    let help = Flags::read(["ownergate", "--help"]).expect_err("help").to_string();
    for flag in ["--config", "--listen", "--upstream", "--better-auth", "--jwks", "--secret-file", "--trusted-proxy"] {
        let variable = format!("OWNERGATE_{}", flag.trim_start_matches('-').replace('-', "_").to_uppercase());
        assert!(help.contains(flag) && help.contains(&format!("[env: {variable}]")), "{help}");
    }
    assert!(help.contains("Examples:"), "{help}");
}

#[test]
fn a_token_needs_a_key_source_and_nothing_else() {
    let load = |line: &[&str]| {
        let read = |path: &Path| {
            if path == Path::new("s") { Ok(SECRET.into()) } else { Err(std::io::ErrorKind::NotFound.into()) }
        };
        IssuerConfig::load(&parse(line).settings, &Default::default(), &read).map(|(issuers, _)| issuers.len())
    };
    assert_eq!(load(&["token", "--user", "alice", "--secret-file", "s"]), Ok(1));
    assert_eq!(load(&["token", "--user", "alice"]), Ok(0));
    assert!(load(&["token", "--user", "alice", "--secret-file", "none"]).is_err());
}
