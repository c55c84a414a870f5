//! The files for operators name what there is.

use std::collections::BTreeSet;

const METRICS: &str = include_str!("../src/serve/metrics.rs");

/// Every metric that a text names, without what Prometheus appends to a histogram's.
fn metrics_in(text: &str) -> BTreeSet<&str> {
    let names =
        text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|word| word.starts_with("ownergate_"));
    names.map(|name| name.trim_end_matches("_bucket")).collect()
}

#[test]
fn dashboard_and_alerts_ask_for_metrics_that_exist() {
    let known = metrics_in(METRICS);
    for (name, text) in [
        ("grafana-dashboard.json", include_str!("../../config/grafana-dashboard.json")),
        ("prometheus-alerts.yml", include_str!("../../config/prometheus-alerts.yml")),
    ] {
        let asked = metrics_in(text);
        assert!(!asked.is_empty(), "{name}");
        assert_eq!(asked.difference(&known).collect::<Vec<_>>(), Vec::<&&str>::new(), "{name}");
    }
}

#[test]
fn the_dashboard_shows_every_metric() {
    let dashboard = include_str!("../../config/grafana-dashboard.json");
    assert!(serde_json::from_str::<serde_json::Value>(dashboard).is_ok());
    assert_eq!(metrics_in(dashboard), metrics_in(METRICS));
}
