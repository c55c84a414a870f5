//! The command line. Texts only: what they mean is found out together with environment and file, so that every fault
//! is told in one run.

use std::{ffi::OsString, time::Duration};

use clap::{
    Args, CommandFactory, FromArgMatches, Parser, Subcommand,
    error::{ContextKind, ContextValue},
};

use super::{secret::Hidden, setting::SETTINGS};

const USAGE: &str = "ownergate [OPTIONS] [-- COMMAND ARGS...]\n       ownergate TOOL [OPTIONS]";

const EXAMPLES: &str = "\
Examples:
  ownergate --upstream http://127.0.0.1:8081 --better-auth http://localhost:3000
  ownergate --upstream unix:/run/tasks.sock --secret-file secret.txt
  ownergate --config config/ownergate.toml
  ownergate --upstream http://127.0.0.1:8081 --secret-file secret.txt -- task-service --listen 127.0.0.1:8081

Without a file there is one route: /api/{user_id}/**, for the user whose id stands there. Everything else is refused.
A flag goes over its variable, a variable over the file.

Exit status: 0 after a drained stop, 1 for a failed start or a dead backend, 64 for faults of the configuration.";

const EXPLAIN_EXAMPLE: &str = "\
Example:
  ownergate explain --config config/ownergate.toml GET /api/alice/tasks --token \"$TOKEN\"";

const TEST_EXAMPLE: &str = "\
Example:
  ownergate test --config config/ownergate.toml cases.toml

cases.toml:
  [[case]]
  path   = \"/api/alice/tasks\"
  claims = { sub = \"alice\" }             # of the token; iss, aud, iat and exp are added where missing
  expect = \"forward\"

  [[case]]
  method = \"DELETE\"                      # GET where none is named
  path   = \"/api/bob/tasks/7\"
  claims = { sub = \"alice\" }
  expect = \"not_owner\"                   # \"forward\", \"preflight\" or the code of a refusal

  [[case]]                               # without claims, no token is sent
  path    = \"/api/alice/tasks\"
  headers = { Cookie = \"session=1\" }
  expect  = \"token_missing\"

With several issuers, issuer = \"NAME\" says whose token it is; the first one's if left out.";

/// Lets nobody reach a backend but the caller whose path it is.
///
/// Ownergate stands in front of one application, verifies the caller's JWT, checks that the path is theirs, and
/// forwards the rest with one header that the application can trust: X-User-Id.
#[derive(Clone, Debug, Parser)]
#[command(name = "ownergate", version, after_long_help = EXAMPLES, after_help = "--help shows more, with examples.")]
#[command(max_term_width = 100, subcommand_value_name = "TOOL", subcommand_help_heading = "Tools", override_usage = USAGE)]
pub struct Flags {
    /// What to run by.
    #[command(flatten)]
    pub settings: Settings,
    /// What to do instead of serving.
    #[command(subcommand)]
    pub tool: Option<Tool>,
    /// The backend to start, wait for, pass signals to and stop with
    #[arg(last = true, value_name = "COMMAND ARGS")]
    pub child: Vec<OsString>,
}

/// What to run by. Every one is an environment variable too.
#[derive(Args, Clone, Debug, Default)]
pub struct Settings {
    /// Configuration file (TOML)
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<String>,
    /// Where clients connect: HOST:PORT, unix:/PATH or systemd, repeatable [default: 127.0.0.1:8080]
    #[arg(long, global = true, value_name = "ADDR")]
    pub listen: Vec<String>,
    /// The application: http://HOST:PORT, https://HOST:PORT or unix:/PATH
    #[arg(long, global = true, value_name = "URL")]
    pub upstream: Option<String>,
    /// Better Auth at this origin: its key set, issuer and audience in one
    #[arg(long, global = true, value_name = "ORIGIN")]
    pub better_auth: Option<String>,
    /// JSON Web Key Set
    #[arg(long, global = true, value_name = "URL-or-FILE")]
    pub jwks: Option<String>,
    /// What the token's iss must equal
    #[arg(long, global = true, value_name = "TEXT")]
    pub issuer: Option<String>,
    /// What the token's aud must contain, repeatable: any of them
    #[arg(long, global = true, value_name = "TEXT")]
    pub audience: Vec<String>,
    /// File that holds an HMAC secret, repeatable: any may verify
    #[arg(long, global = true, value_name = "FILE")]
    pub secret_file: Vec<String>,
    /// HMAC secret; everybody on this machine can read it here, so rather use --secret-file or BETTER_AUTH_SECRET
    #[arg(long, global = true, value_name = "TEXT", allow_hyphen_values = true)]
    pub secret: Vec<Hidden>,
    /// Where health, readiness and metrics are told, or "off" [default: 127.0.0.1:9901]
    #[arg(long, global = true, value_name = "ADDR")]
    pub admin: Option<String>,
    /// A proxy in front whose X-Forwarded-* are believed: address or network, repeatable
    #[arg(long, global = true, value_name = "CIDR")]
    pub trusted_proxy: Vec<String>,
    /// Worker threads [default: one per core]
    #[arg(long, global = true, value_name = "COUNT")]
    pub workers: Option<String>,
    /// text for people, json for machines [default: text]
    #[arg(long, global = true, value_name = "FORMAT")]
    pub log_format: Option<String>,
    /// error, warn, info, debug or trace [default: info]
    #[arg(long, global = true, value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// Collector that traces are sent to: OTLP over HTTP, such as http://localhost:4318
    #[arg(long, global = true, value_name = "URL")]
    pub otlp: Option<String>,
}

/// What to do instead of serving.
#[derive(Clone, Debug, Subcommand)]
pub enum Tool {
    /// Tells every fault of the configuration
    Check,
    /// Prints the configuration in force as TOML, without secrets
    Config,
    /// Tells step by step what becomes of a request, and which rule decides
    ///
    /// Exit status 0 if it would be forwarded, 1 if refused, 64 for faults of the configuration or of the request's words.
    #[command(after_long_help = EXPLAIN_EXAMPLE)]
    Explain(Explain),
    /// Signs a token for local work
    #[command(after_long_help = "Example:\n  TOKEN=$(ownergate token --secret-file secret.txt --user alice)")]
    Token(Token),
    /// Compares what is decided with a table of what should be
    ///
    /// The routes and rules in force decide. Tokens are signed here with the claims of each case, so no private key is needed.
    /// Exit status 0 if every case goes as expected, 1 if one does not, 64 for faults of the configuration or table.
    #[command(after_long_help = TEST_EXAMPLE)]
    Test {
        /// Table of method, path, claims and expected decision (TOML)
        #[arg(value_name = "FILE")]
        file: String,
    },
    /// Prints completions for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Prints the manual page
    Man,
}

/// The request to explain.
#[derive(Args, Clone, Debug)]
pub struct Explain {
    /// The request's method
    pub method: String,
    /// The request's path, and query if any
    pub path: String,
    /// The request's token, sent as "Authorization: Bearer"
    #[arg(long, value_name = "TOKEN")]
    pub token: Option<Hidden>,
    /// A further header, repeatable
    #[arg(long, value_name = "NAME: VALUE")]
    pub header: Vec<Hidden>,
}

/// The token to sign.
#[derive(Args, Clone, Debug)]
pub struct Token {
    /// The user's id (sub)
    #[arg(long, value_name = "ID")]
    pub user: String,
    /// How long it is good for, such as 15m, 1h, 1d
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = humantime::parse_duration)]
    pub expires_in: Duration,
}

impl Flags {
    /// Reads a command line, the program's name first.
    ///
    /// # Errors
    /// A message for the user: a usage fault, or the help that was asked for.
    pub fn read<I>(arguments: I) -> Result<Self, clap::Error>
    where
        I: IntoIterator,
        I::Item: Into<OsString>,
    {
        let arguments: Vec<OsString> = arguments.into_iter().map(Into::into).collect();
        let matches = command().try_get_matches_from(&arguments).map_err(|fault| with_tip(fault, &arguments))?;
        Self::from_arg_matches(&matches)
    }

    /// Completions for a shell.
    pub fn completions(shell: clap_complete::Shell) -> Vec<u8> {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut command(), "ownergate", &mut script);
        script
    }

    /// The manual page in roff.
    ///
    /// # Errors
    /// None that writing to memory could cause.
    pub fn manual() -> std::io::Result<Vec<u8>> {
        let mut page = Vec::new();
        clap_mangen::Man::new(command()).render(&mut page)?;
        Ok(page)
    }
}

/// Says what a word could be that is neither a flag nor a tool.
fn with_tip(mut fault: clap::Error, arguments: &[OsString]) -> clap::Error {
    let command = command();
    let is_word =
        matches!(fault.get(ContextKind::InvalidArg), Some(ContextValue::String(word)) if !word.starts_with('-'));
    if is_word && !arguments.iter().any(|argument| command.find_subcommand(argument).is_some()) {
        let tools: Vec<&str> = command.get_subcommands().map(clap::Command::get_name).collect();
        let tip = format!("the tools are {}; the backend to start stands behind \"--\"", tools.join(", "));
        fault.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    }
    fault
}

/// The command line, each flag with its variable's name and never its value.
fn command() -> clap::Command {
    Flags::command().mut_args(|flag| {
        let long = flag.get_long().map(|long| format!("--{long}"));
        let setting = SETTINGS.iter().find(|setting| long.as_deref() == Some(setting.flag));
        match (setting, flag.get_help().cloned()) {
            (Some(setting), Some(help)) => flag.help(format!("{help} [env: {}]", setting.variable)),
            (Some(_) | None, _) => flag,
        }
    })
}
