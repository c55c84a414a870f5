//! Lists: in order, in pages, and by a strict query.

use serde_json::Value;

use crate::kit::{Place, Response, Service};

fn next(response: &Response) -> Option<String> {
    let link = response.header("link")?;
    let (target, relation) = link.split_once("; ").unwrap();
    assert_eq!(relation, "rel=\"next\"");
    Some(target.trim_start_matches('<').trim_end_matches('>').to_owned())
}

fn ids(page: &Value) -> Vec<i64> {
    page.as_array().unwrap().iter().map(|task| task["id"].as_i64().unwrap()).collect()
}

fn walk(service: &Service, first: &str) -> Vec<Vec<i64>> {
    let mut pages = Vec::new();
    let mut path = Some(first.to_owned());
    while let Some(at) = path {
        let response = service.send("GET", &at, None);
        assert_eq!(response.status, 200, "{at}");
        pages.push(ids(&response.json()));
        path = next(&response);
    }
    pages
}

#[test]
fn a_list_comes_in_order_of_id_100_at_a_time() {
    let place = Place::new();
    let service = place.start();
    for number in 0..201 {
        service.create(&format!("task {number}"));
    }
    let pages = walk(&service, "/api/alice/tasks");
    assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [100, 100, 1]);
    assert_eq!(pages.concat(), (1..=201).collect::<Vec<_>>());
}

#[test]
fn a_full_last_page_has_no_next() {
    let place = Place::new();
    let service = place.start();
    for number in 0..4 {
        service.create(&format!("task {number}"));
    }
    assert_eq!(walk(&service, "/api/alice/tasks?limit=2"), [[1, 2], [3, 4]]);
}

#[test]
fn a_page_follows_what_came_before_also_when_that_is_gone() {
    let place = Place::new();
    let service = place.start();
    for number in 0..4 {
        service.create(&format!("task {number}"));
    }
    let second = next(&service.send("GET", "/api/alice/tasks?limit=2", None)).unwrap();
    service.send("DELETE", "/api/alice/tasks/2", None);
    assert_eq!(ids(&service.send("GET", &second, None).json()), [3, 4]);
}

#[test]
fn every_fault_of_a_query_is_told_at_once() {
    let place = Place::new();
    let service = place.start();
    let problem =
        service.send("GET", "/api/alice/tasks?limit=0&cursor=!&colour=red&limit=5", None).refused(400, "query_invalid");
    let fields: Vec<_> =
        problem["errors"].as_array().unwrap().iter().map(|fault| fault["field"].as_str().unwrap()).collect();
    assert_eq!(fields, ["limit", "cursor", "colour", "limit"]);
    for query in ["limit=101", "limit=-1", "limit=", "limit=1.5", "limit=01", "cursor="] {
        service.send("GET", &format!("/api/alice/tasks?{query}"), None).refused(400, "query_invalid");
    }
    assert_eq!(service.send("GET", "/api/alice/tasks?", None).status, 200);
}
