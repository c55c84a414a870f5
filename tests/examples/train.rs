//! Puts an ordinary day's requests through a proxy that was built to record which of its code runs, so that the compiler,
//! and BOLT after it, can lay out what is hot: `train PATH-OF-OWNERGATE`. `make release` calls it for each.

use std::env;
use std::net::SocketAddr;
use std::process::Command;
use std::rc::Rc;
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
use tokio::net::TcpStream;

/// Requests of each proxy by HTTP/1.1.
const REQUESTS: usize = 32_000;
/// And by HTTP/2.
const STREAMED: usize = 8_000;
const USERS: usize = 200;
const CONNECTIONS: usize = 32;
/// At once on an HTTP/2 connection that has several.
const STREAMS: usize = 8;

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
        let callers: Vec<(String, String)> = (0..USERS).map(|number| caller(number, key)).collect();
        spend_a_day(&address, &callers);
        spend_a_day_by_http2(&address, &callers);
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

/// Everybody at once by HTTP/1.1, as on any server that is worth the trouble.
fn spend_a_day(proxy: &Address, callers: &[(String, String)]) {
    thread::scope(|scope| {
        for first in 0..CONNECTIONS {
            scope.spawn(move || {
                let mut wire = Wire::to(proxy);
                (first..REQUESTS).step_by(CONNECTIONS).for_each(|turn| ask(&mut wire, turn, &callers[turn % USERS]));
            });
        }
    });
}

/// The same by HTTP/2: half of the connections have one stream at a time, half have several.
fn spend_a_day_by_http2(proxy: &Address, callers: &[(String, String)]) {
    let Address::Tcp(proxy) = *proxy else { panic!("{proxy} is no TCP address") };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().expect("a runtime");
    let callers: Rc<[_]> = callers.into();
    runtime.block_on(tokio::task::LocalSet::new().run_until(async {
        let connection = |number| tokio::task::spawn_local(multiplex(proxy, number, Rc::clone(&callers)));
        let connections: Vec<_> = (0..CONNECTIONS).map(connection).collect();
        for connection in connections {
            connection.await.expect("every request is answered");
        }
    }));
}

async fn multiplex(proxy: SocketAddr, number: usize, callers: Rc<[(String, String)]>) {
    let stream = TcpStream::connect(proxy).await.expect("the proxy accepts");
    stream.set_nodelay(true).expect("a socket option");
    let (mut sender, connection) = h2::client::handshake(stream).await.expect("the proxy speaks HTTP/2");
    tokio::task::spawn_local(connection);
    let streams = if number.is_multiple_of(2) { 1 } else { STREAMS };
    for round in 0..STREAMED / CONNECTIONS / streams {
        let mut answers = Vec::new();
        for stream in 0..streams {
            sender = sender.ready().await.expect("room for a stream");
            let (user, token) = &callers[(number + round + stream) % USERS];
            let request = http::Request::get(format!("http://{proxy}/api/{user}/tasks/{}?page=2", round % 90))
                .header("authorization", format!("Bearer {token}"))
                .header("user-agent", "training/1.0")
                .header("accept", "*/*");
            let request = request.body(()).expect("a request");
            answers.push(sender.send_request(request, true).expect("a stream").0);
        }
        for answer in answers {
            let answer = answer.await.expect("an answer");
            assert_eq!(answer.status(), 200);
            let mut body = answer.into_body();
            while let Some(data) = body.data().await {
                let bytes = data.expect("the whole answer").len();
                body.flow_control().release_capacity(bytes).expect("what has come is let go of");
            }
        }
    }
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
