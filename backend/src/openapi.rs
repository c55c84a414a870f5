//! The description of the API (OpenAPI 3.1), made from the code, and the page to browse it.

use axum::Router;
use axum::response::IntoResponse;
use axum::routing::get;
use http::header;
use utoipa::openapi::OpenApi;
use utoipa::{IntoParams, IntoResponses, OpenApi as _, ToSchema};
use utoipa_swagger_ui::{Config, SwaggerUi};

use crate::problem::Document;

/// Everything but the paths, which the router adds.
#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Task service",
        description = "A to-do list for each user. Who the user is says X-User-Id, which the proxy in front sets from a \
                       verified token; the user in the path is not looked at. Another user's task is as good as none.",
    ),
    tags((name = "tasks", description = "The tasks of the caller"))
)]
struct Description;

/// The description without its paths.
pub(crate) fn description() -> OpenApi {
    let mut description = Description::openapi();
    // Filled with an empty name when the package states none.
    description.info.license = None;
    description
}

/// `/openapi.json`, and `/docs` with all that it needs. Neither asks who is calling.
pub(crate) fn router<S: Clone + Send + Sync + 'static>(description: &OpenApi) -> Router<S> {
    let text = crate::json::text(description);
    let json = get(move || async move { ([(header::CONTENT_TYPE, "application/json")], text).into_response() });
    let page = SwaggerUi::new("/docs").config(Config::new(["/openapi.json"]));
    Router::new().route("/openapi.json", json).merge(page)
}

/// What every request on tasks says.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[allow(dead_code, reason = "describes what the extractors read")]
pub(crate) struct UserPath {
    /// Not looked at here: the proxy compares it with the token.
    #[param(min_length = 1)]
    user_id: String,
}

/// The header that says who is calling.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[allow(dead_code, reason = "describes what the extractors read")]
pub(crate) struct CallerHeader {
    /// Who is calling; ids beyond ASCII as their UTF-8 bytes.
    #[param(rename = "X-User-Id", min_length = 1, pattern = "^[!-~]+$")]
    user_id: String,
}

/// The number of a task.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[allow(dead_code, reason = "describes what the extractors read")]
pub(crate) struct TaskPath {
    /// The task.
    #[param(minimum = 1)]
    id: i64,
}

/// The filters of a list.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "describes what the extractors read")]
pub(crate) struct ListParameters {
    /// Only those that are done, or only those that are not.
    completed: Option<bool>,
    /// Only those with words that begin like these, in the title or the description.
    #[param(max_length = 200)]
    q: Option<String>,
    /// The order; - in front turns it.
    #[param(inline)]
    sort: Option<SortName>,
    /// How many at most.
    #[param(minimum = 1, maximum = 100, default = 100)]
    limit: Option<u32>,
    /// Where the page before ended; taken from its Link header.
    #[param(pattern = "^[A-Za-z0-9_-]+$")]
    cursor: Option<String>,
}

#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
#[allow(dead_code, reason = "describes what the extractors read")]
enum SortName {
    Id,
    #[schema(rename = "-id")]
    IdDown,
    CreatedAt,
    #[schema(rename = "-created_at")]
    CreatedAtDown,
    UpdatedAt,
    #[schema(rename = "-updated_at")]
    UpdatedAtDown,
    Title,
    #[schema(rename = "-title")]
    TitleDown,
}

/// A read that need not be answered again.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[allow(dead_code, reason = "describes what the extractors read")]
pub(crate) struct KnownHeader {
    /// The entity tags that the client has.
    #[param(rename = "If-None-Match")]
    if_none_match: Option<String>,
}

/// A change of one state and no other.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[allow(dead_code, reason = "describes what the extractors read")]
pub(crate) struct PreconditionHeader {
    /// The entity tags of which the task must have one; * is any.
    #[param(rename = "If-Match", example = "*")]
    if_match: Option<String>,
}

/// A create that may be sent again.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[allow(dead_code, reason = "describes what the extractors read")]
pub(crate) struct IdempotencyHeader {
    /// A name for this create, kept for 24 hours: sent again under it, it makes no second task.
    #[param(rename = "Idempotency-Key", min_length = 1, max_length = 255, pattern = "^[!#-\\[\\]-~]+$")]
    idempotency_key: Option<String>,
}

/// What any request may be refused with.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "describes what the handlers answer")]
pub(crate) enum Refused {
    /// The request is not as it should be.
    #[response(status = 400, content_type = "application/problem+json")]
    Malformed(#[to_schema] Document),
    /// A fault of the service.
    #[response(status = 500, content_type = "application/problem+json")]
    Internal(#[to_schema] Document),
    /// The store cannot do this now; see Retry-After.
    #[response(status = 503, content_type = "application/problem+json")]
    Unavailable(#[to_schema] Document),
}

/// What a request on one task may be refused with.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "describes what the handlers answer")]
pub(crate) enum NotFound {
    /// The caller has no such task.
    #[response(status = 404, content_type = "application/problem+json")]
    NoTask(#[to_schema] Document),
}

/// What a request with a body may be refused with.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "describes what the handlers answer")]
pub(crate) enum BodyRefused {
    /// The user would keep more than the quota.
    #[response(status = 403, content_type = "application/problem+json")]
    Quota(#[to_schema] Document),
    /// The body has more than 64 KiB.
    #[response(status = 413, content_type = "application/problem+json")]
    TooLarge(#[to_schema] Document),
    /// The body is not said to be JSON.
    #[response(status = 415, content_type = "application/problem+json")]
    NoJson(#[to_schema] Document),
    /// There is no room left.
    #[response(status = 507, content_type = "application/problem+json")]
    Full(#[to_schema] Document),
}

/// What a change of a task may be refused with.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "describes what the handlers answer")]
pub(crate) enum ChangeRefused {
    /// The task is not in a state that If-Match and If-None-Match admit.
    #[response(status = 412, content_type = "application/problem+json")]
    Changed(#[to_schema] Document),
}
