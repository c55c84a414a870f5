//! Lists: in order, in pages, and by a strict query.

use serde_json::Value;

use crate::kit::{Place, Service};

fn ids(page: &Value) -> Vec<i64> {
    page.as_array().unwrap().iter().map(|task| task["id"].as_i64().unwrap()).collect()
}

fn walk(service: &Service, first: &str) -> Vec<Vec<i64>> {
    service.pages(first).into_iter().map(|page| ids(&Value::Array(page))).collect()
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
    let second = service.send("GET", "/api/alice/tasks?limit=2", None).next().unwrap();
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
    for query in ["completed=1", "sort=colour", "sort=--id", "sort=", "cursor=bm9wZQ"] {
        service.send("GET", &format!("/api/alice/tasks?{query}"), None).refused(400, "query_invalid");
    }
    for query in ["limit=101", "limit=-1", "limit=", "limit=1.5", "limit=01", "cursor="] {
        service.send("GET", &format!("/api/alice/tasks?{query}"), None).refused(400, "query_invalid");
    }
    assert_eq!(service.send("GET", "/api/alice/tasks?", None).status, 200);
}

/// Tasks whose titles, ages and states run in different orders.
fn assorted(service: &Service) {
    for (title, completed) in [("cherry", true), ("apple", false), ("Élan", true), ("banana", false), ("apple", true)]
    {
        let path = format!("/api/alice/tasks/{}", service.create(title)["id"]);
        let body = serde_json::json!({ "completed": completed }).to_string();
        assert_eq!(service.send("PATCH", &path, Some(&body)).status, 200);
    }
    service.send_as("bob", "POST", "/api/bob/tasks", Some(r#"{"title":"apple"}"#));
}

#[test]
fn a_list_can_be_filtered_and_sorted_and_its_pages_add_up() {
    let place = Place::new();
    let service = place.start();
    assorted(&service);
    for (query, wanted) in [
        ("completed=true", vec![1, 3, 5]),
        ("completed=false", vec![2, 4]),
        ("sort=-id", vec![5, 4, 3, 2, 1]),
        ("sort=title", vec![2, 5, 4, 1, 3]),
        ("sort=-title", vec![3, 1, 4, 5, 2]),
        ("sort=created_at", vec![1, 2, 3, 4, 5]),
        ("sort=-updated_at&completed=true", vec![5, 3, 1]),
        ("q=apple&sort=-title", vec![5, 2]),
        ("q=apple&completed=false", vec![2]),
    ] {
        for limit in [1, 2, 100] {
            let pages = walk(&service, &format!("/api/alice/tasks?{query}&limit={limit}"));
            assert_eq!(pages.concat(), wanted, "{query} by {limit}");
        }
    }
}

#[test]
fn a_search_finds_beginnings_of_words_in_titles_and_descriptions() {
    let place = Place::new();
    let service = place.start();
    for body in [
        r#"{"title":"Buy oat milk","description":"two bottles, cold"}"#,
        r#"{"title":"Call Zo\u00eb","description":"about the Milky Way"}"#,
        r#"{"title":"x616c696365 owner title","description":"NEAR AND OR NOT \"quoted\""}"#,
    ] {
        assert_eq!(service.send("POST", "/api/alice/tasks", Some(body)).status, 201);
    }
    service.send_as("bob", "POST", "/api/bob/tasks", Some(r#"{"title":"milk of bob"}"#));
    for (q, wanted) in [
        ("milk", vec![1, 2]),
        ("MILK%20bott", vec![1]),
        ("ilk", vec![]),
        ("zoe", vec![2]),
        ("zo%C3%AB", vec![2]),
        ("zoe%CC%88", vec![2]),
        ("milk+nothing", vec![]),
        ("bob", vec![]),
        ("owner%3Abob", vec![]),
        ("x626f62", vec![]),
        ("%22quoted%22*", vec![3]),
        ("near(not)", vec![3]),
        ("%21", vec![]),
        ("+", vec![1, 2, 3]),
        ("', %25", vec![]),
    ] {
        let response = service.send("GET", &format!("/api/alice/tasks?q={}", q.replace(' ', "+")), None);
        assert_eq!(response.status, 200, "{q}");
        assert_eq!(ids(&response.json()), wanted, "{q}");
    }
    service.send("PATCH", "/api/alice/tasks/1", Some(r#"{"title":"Buy tea"}"#));
    service.send("DELETE", "/api/alice/tasks/2", None);
    assert_eq!(ids(&service.send("GET", "/api/alice/tasks?q=milk", None).json()), [0; 0]);
    assert_eq!(ids(&service.send("GET", "/api/alice/tasks?q=tea", None).json()), [1]);
}
