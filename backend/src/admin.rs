//! What operators ask: is it alive, is it ready, how does it do.

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{StatusCode, header};

use crate::metrics::Metrics;
use crate::store::Store;

/// `/livez`, `/readyz` and `/metrics`, for a listener that users do not reach.
pub fn router(store: Store, metrics: Metrics) -> Router {
    Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz).with_state(store))
        .route("/metrics", get(exposition).with_state(metrics))
        .fallback(|| async { (StatusCode::NOT_FOUND, "try /livez, /readyz or /metrics\n") })
}

/// Ready while the store answers.
async fn readyz(State(store): State<Store>) -> Response {
    match store.ready().await {
        Ok(()) => "ok\n".into_response(),
        Err(error) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "not ready");
            (StatusCode::SERVICE_UNAVAILABLE, "the store does not answer\n").into_response()
        }
    }
}

async fn exposition(State(metrics): State<Metrics>) -> Response {
    let media_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, media_type)], metrics.exposition()).into_response()
}
