//! A route's rate is kept for each user.

use e2e::request::Request;

use crate::configured::{MAIN, configured, route};

#[test]
fn a_route_takes_as_many_requests_as_its_rate_and_says_when_to_come_back() {
    let rate = "access = { owner = \"user\" }\nrate_limit = { per_second = 1, burst = 5 }";
    let gate = configured(&format!("{MAIN}{}", route("/api/{user}/**", rate)));
    let answers: Vec<_> = (0..20).map(|_| gate.proxy.ask(&gate.by_alice("/api/alice/x"))).collect();
    let refused: Vec<_> = answers.iter().filter(|answer| answer.status != 200).collect();
    assert!((10..=15).contains(&refused.len()), "{} of 20 were refused", refused.len());
    for answer in refused {
        answer.refused(429, "rate_limited");
        assert!(answer.header("retry-after").is_some_and(|seconds| seconds.parse::<u32>().is_ok()));
    }
    let bob = Request::get("/api/bob/x").bearer(&gate.token("bob"));
    assert_eq!(gate.verdict(&bob), "forwarded", "one user's haste is not another's");
}
