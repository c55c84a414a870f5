//! Which path and method leads to which handler.

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{get, patch};

use crate::handlers::{complete, create, delete, find, list, merge, method_not_allowed, path_unknown, replace};
use crate::metrics::Metrics;
use crate::store::Store;
use crate::{log, receive};

/// The whole service as one value: requests in, responses out.
pub fn router(store: Store, metrics: Metrics) -> Router {
    Router::new()
        .route("/api/{user_id}/tasks", get(list).post(create))
        .route("/api/{user_id}/tasks/{id}", get(find).put(replace).patch(merge).delete(delete))
        .route("/api/{user_id}/tasks/{id}/complete", patch(complete))
        .fallback(path_unknown)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(from_fn(receive::before_all))
        .layer(from_fn_with_state(metrics, log::exchange))
        .with_state(store)
}
