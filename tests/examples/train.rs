//! Puts an ordinary day's requests through a proxy that was built to record which of its code runs, so that the compiler
//! can lay out what is hot: `train PATH-OF-OWNERGATE`. `make release` calls it.

use std::env;
use std::process::Command;
use std::thread;
use std::time::Duration;

use e2e::PATIENCE;
use e2e::key::{Algorithm, Key, key_set};
use e2e::port;
use e2e::process::{Process, poll};
use e2e::recorder::{Recorder, Reply};
use e2e::request::Request;
use e2e::socket::{Address, Socket};
use e2e::stack::SECRET;
use e2e::token::{AUDIENCE, ISSUER, Token};
use e2e::wire::Wire;

/// Requests of each proxy.
const REQUESTS: usize = 32_000;
const USERS: usize = 200;
const CONNECTIONS: usize = 32;

/// What most backends answer: a little JSON, a few headers.
const TASK: &str = concat!(
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nDate: Thu, 26 Nov 2026 06:40:07 GMT\r\nETag: \"7-1\"\r\n",
    "Content-Length: 68\r\n\r\n{\"id\":7,\"title\":\"Buy milk\",\"description\":null,\"completed\":false    }"
);

fn main() {
    let binary = env::args().nth(1).expect("the path of the proxy to train");
    let backend = Recorder::answering(|_| Reply::send(TASK));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let write = |name: &str, text: String| std::fs::write(folder.path().join(name), text).expect("a file");
    let key = Key::new(Algorithm::EdDSA, "a");
    write("secret", SECRET.to_owned());
    write("keys.json", key_set(&[&key]).to_string());
    let key_set = format!("jwks = \"keys.json\"\nissuer = \"{ISSUER}\"\naudience = [\"{AUDIENCE}\"]");
    for (issuer, key) in [("secret_file = \"secret\"", &Key::shared(SECRET)), (&key_set, &key)] {
        let address = port::free();
        write("ownergate.toml", configuration(&address.to_string(), issuer, &backend.url()));
        let mut command = Command::new(&binary);
        command.current_dir(folder.path()).args(["--config", "ownergate.toml"]);
        let mut proxy = Process::start("ownergate", &mut command);
        let address = Address::Tcp(address);
        poll(PATIENCE, || Socket::connect(&address).ok()).expect("the proxy accepts");
        spend_a_day(&address, key);
        proxy.signal("TERM");
        assert_eq!(proxy.exit_code(Duration::from_secs(30)), 0, "{}", proxy.log());
    }
}

fn configuration(listen: &str, issuer: &str, upstream: &str) -> String {
    format!(
        r#"
        [server]
        listen = ["{listen}"]
        admin = "off"
        workers = 1
        [[issuer]]
        name = "training"
        {issuer}
        [upstream.backend]
        url = "{upstream}"
        [[route]]
        path = "/api/{{user_id}}/**"
        access = {{ owner = "user_id" }}
        [[route]]
        path = "/public/**"
        access = "public"
        "#
    )
}

/// Everybody at once, as on any server that is worth the trouble.
fn spend_a_day(proxy: &Address, key: &Key) {
    let tokens: Vec<(String, String)> = (0..USERS).map(|number| caller(number, key)).collect();
    thread::scope(|scope| {
        for first in 0..CONNECTIONS {
            let tokens = &tokens;
            scope.spawn(move || {
                let mut wire = Wire::to(proxy);
                (first..REQUESTS).step_by(CONNECTIONS).for_each(|turn| ask(&mut wire, turn, &tokens[turn % USERS]));
            });
        }
    });
}

fn caller(number: usize, key: &Key) -> (String, String) {
    let user = format!("user-{number:04}");
    let token = Token::of(&user).claim("email", format!("{user}@app.example")).signed_by(key);
    (user, token)
}

/// Mostly reads by known callers, now and then a write, a public page, a caller without a token or in the wrong place.
fn ask(wire: &mut Wire, turn: usize, (user, token): &(String, String)) {
    let path = format!("/api/{user}/tasks/{}?page=2", turn % 90);
    let (request, status) = match turn / CONNECTIONS % 20 {
        0 | 1 => {
            (Request::new("POST", format!("/api/{user}/tasks")).json(r#"{"title":"Buy milk"}"#).bearer(token), 200)
        }
        2 => (Request::get("/public/style.css"), 200),
        3 => (Request::get(&path), 401),
        4 => (Request::get("/api/somebody/tasks").bearer(token), 403),
        _ => (Request::get(&path).bearer(token), 200),
    };
    let request = request.field("User-Agent", "training/1.0").field("Accept", "*/*").field("Accept-Encoding", "gzip");
    assert_eq!(wire.ask(&request).status, status, "{path}");
}
