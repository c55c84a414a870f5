//! Which path and method leads to which handler.

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::metrics::Metrics;
use crate::store::Store;
use crate::{handlers, log, openapi, receive};

/// The whole service as one value: requests in, responses out.
pub fn router(store: Store, metrics: Metrics) -> Router {
    let (tasks, description) = OpenApiRouter::with_openapi(openapi::description())
        .routes(routes!(handlers::list, handlers::create))
        .routes(routes!(handlers::find, handlers::replace, handlers::merge, handlers::delete))
        .routes(routes!(handlers::complete))
        .split_for_parts();
    tasks
        .merge(openapi::router(&description))
        .fallback(handlers::path_unknown)
        .method_not_allowed_fallback(handlers::method_not_allowed)
        .layer(from_fn(receive::before_all))
        .layer(from_fn_with_state(metrics, log::exchange))
        .with_state(store)
}
