//! Several task services on one PostgreSQL behind one proxy.

use std::collections::BTreeSet;

use e2e::key::Key;
use e2e::postgres;
use e2e::request::Request;
use e2e::socket::Address;
use e2e::stack::{Proxy, SECRET, TaskService};
use e2e::token::Token;
use e2e::wire::Wire;
use serde_json::json;

const CONFIG: &str = r#"
[[issuer]]
name = "tests"
secret_file = "secret"

[[route]]
path = "/api/{user_id}/**"
access = { owner = "user_id" }
upstream = "tasks"
"#;

/// The replicas, and the one proxy that knows them all.
struct Deployment {
    replicas: Vec<TaskService>,
    proxy: Proxy,
    database: String,
}

impl Deployment {
    fn start(name: &str) -> Self {
        let database = postgres::database(name);
        let replicas: Vec<_> = (0..3).map(|_| TaskService::on(&database)).collect();
        let urls: Vec<_> = replicas.iter().map(TaskService::url).collect();
        let upstream = format!("[upstream.tasks]\nurl = {urls:?}\n");
        let proxy = Proxy::configured(&format!("{CONFIG}{upstream}")).file("secret", SECRET).start();
        Self { replicas, proxy, database }
    }

    /// Makes a task through the proxy; its id.
    fn create(&self, title: &str) -> i64 {
        let token = Token::of("alice").signed_by(&Key::shared(SECRET));
        let request = Request::post("/api/alice/tasks", json!({"title": title}).to_string())
            .field("Content-Type", "application/json")
            .bearer(&token);
        self.proxy.ask(&request).expect(201).json()["id"].as_i64().expect("an id")
    }
}

/// The ids of alice's tasks, as this replica itself knows them.
fn known_to(replica: &Address) -> BTreeSet<i64> {
    let list = Wire::to(replica).ask(&Request::get("/api/alice/tasks").field("X-User-Id", "alice")).expect(200).json();
    list.as_array().expect("an array").iter().map(|task| task["id"].as_i64().expect("an id")).collect()
}

#[test]
fn every_replica_knows_what_was_made_through_the_others() {
    let deployment = Deployment::start("replicasshare");
    let made: BTreeSet<_> = (0..30).map(|number| deployment.create(&number.to_string())).collect();
    assert_eq!(made.len(), 30);
    for replica in &deployment.replicas {
        assert_eq!(known_to(&replica.address), made);
    }
}

#[test]
fn a_killed_replica_is_passed_over_and_serves_again_when_it_is_back() {
    let mut deployment = Deployment::start("replicaskilled");
    let mut made: BTreeSet<_> = (0..9).map(|number| deployment.create(&number.to_string())).collect();
    deployment.replicas[1].process.kill();
    made.extend((0..30).map(|number| deployment.create(&format!("without the second {number}"))));
    let address = deployment.replicas[1].address.clone();
    deployment.replicas[1] = TaskService::at(address, &deployment.database);
    made.extend((0..9).map(|number| deployment.create(&format!("again {number}"))));
    assert_eq!(made.len(), 48);
    for replica in &deployment.replicas {
        assert_eq!(known_to(&replica.address), made);
    }
}
