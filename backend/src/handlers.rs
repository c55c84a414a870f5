//! What each request does, once it is read.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};

use crate::caller::Caller;
use crate::change::{Change, Completion, Draft};
use crate::conditional::{Precondition, entity_tag, is_known};
use crate::fingerprint::Fingerprint;
use crate::idempotency::IdempotencyKey;
use crate::json::{self, Json};
use crate::openapi::{
    BodyRefused, CallerHeader, ChangeRefused, IdempotencyHeader, KnownHeader, ListParameters, NotFound,
    PreconditionHeader, Refused, TaskPath, UserPath,
};
use crate::problem::{Code, Document, Problem};
use crate::query::ListQuery;
use crate::store::Store;
use crate::task::{Moment, Task, TaskId};

/// Make a task
#[utoipa::path(
    post, path = "/api/{user_id}/tasks", tag = "tasks",
    params(UserPath, CallerHeader, IdempotencyHeader),
    request_body(content = Draft),
    responses(
        (status = 201, body = Task, description = "The task, as it was made", headers(("ETag" = String, description = "Names this state"), ("Location" = String, description = "Where it is"))),
        (status = 422, body = Document, content_type = "application/problem+json", description = "The key was used for another task"),
        Refused, BodyRefused
    ),
)]
pub(crate) async fn create(
    State(store): State<Store>,
    caller: Caller,
    key: IdempotencyKey,
    uri: Uri,
    Json(draft): Json<Draft>,
) -> Result<Response, Problem> {
    let task = store.create(caller, draft, key, Moment::now()).await?;
    let mut response = one(&task)?;
    *response.status_mut() = StatusCode::CREATED;
    set(&mut response, header::LOCATION, &format!("{}/{}", uri.path(), task.id.0))?;
    Ok(response)
}

/// List tasks
#[utoipa::path(
    get, path = "/api/{user_id}/tasks", tag = "tasks",
    params(UserPath, CallerHeader, ListParameters, KnownHeader),
    responses(
        (status = 200, body = [Task], description = "A page", headers(("ETag" = String, description = "Names this state"), ("Link" = String, description = "rel=next leads to the page after it, if there is one"))),
        (status = 304, description = "The client has it already"),
        Refused
    ),
)]
pub(crate) async fn list(
    State(store): State<Store>,
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
    query: ListQuery,
) -> Result<Response, Problem> {
    let page = store.list(caller, query.clone()).await?;
    let body = json::text(&page.tasks);
    // The link is part of what the client has seen.
    let (link, seen) = match page.tasks.last().filter(|_| page.more) {
        Some(last) => {
            let next = query.next_page(uri.query().unwrap_or_default(), last);
            let link = format!("<{}?{next}>; rel=\"next\"", uri.path());
            let seen = [body.as_slice(), link.as_bytes()].concat();
            (Some(link), Fingerprint::of(&seen))
        }
        None => (None, Fingerprint::of(&body)),
    };
    let mut response = read(&headers, body, seen)?;
    if let Some(link) = link {
        set(&mut response, header::LINK, &link)?;
    }
    Ok(response)
}

/// Read a task
#[utoipa::path(
    get, path = "/api/{user_id}/tasks/{id}", tag = "tasks",
    params(UserPath, TaskPath, CallerHeader, KnownHeader),
    responses(
        (status = 200, body = Task, description = "The task", headers(("ETag" = String, description = "Names this state"))),
        (status = 304, description = "The client has it already"),
        Refused, NotFound
    ),
)]
pub(crate) async fn find(
    State(store): State<Store>,
    caller: Caller,
    id: TaskId,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let body = json::text(&store.find(caller, id).await?);
    let seen = Fingerprint::of(&body);
    read(&headers, body, seen)
}

/// Replace title and description
#[utoipa::path(
    put, path = "/api/{user_id}/tasks/{id}", tag = "tasks",
    params(UserPath, TaskPath, CallerHeader, PreconditionHeader),
    request_body(content = Draft),
    responses(
        (status = 200, body = Task, description = "The task, with title and description replaced", headers(("ETag" = String, description = "Names this state"))),
        Refused, NotFound, BodyRefused, ChangeRefused
    ),
)]
pub(crate) async fn replace(
    State(store): State<Store>,
    caller: Caller,
    id: TaskId,
    precondition: Precondition,
    Json(draft): Json<Draft>,
) -> Result<Response, Problem> {
    one(&store.change(caller, id, draft.into(), precondition, Moment::now()).await?)
}

/// Change what is named (RFC 7396)
#[utoipa::path(
    patch, path = "/api/{user_id}/tasks/{id}", tag = "tasks",
    params(UserPath, TaskPath, CallerHeader, PreconditionHeader),
    request_body(content((Change = "application/merge-patch+json"), (Change = "application/json"))),
    responses(
        (status = 200, body = Task, description = "The task, with what was named changed", headers(("ETag" = String, description = "Names this state"))),
        Refused, NotFound, BodyRefused, ChangeRefused
    ),
)]
pub(crate) async fn merge(
    State(store): State<Store>,
    caller: Caller,
    id: TaskId,
    precondition: Precondition,
    Json(change): Json<Change>,
) -> Result<Response, Problem> {
    one(&store.change(caller, id, change, precondition, Moment::now()).await?)
}

/// Mark as done or not
#[utoipa::path(
    patch, path = "/api/{user_id}/tasks/{id}/complete", tag = "tasks",
    params(UserPath, TaskPath, CallerHeader, PreconditionHeader),
    request_body(content = Completion),
    responses(
        (status = 200, body = Task, description = "The task", headers(("ETag" = String, description = "Names this state"))),
        Refused, NotFound, BodyRefused, ChangeRefused
    ),
)]
pub(crate) async fn complete(
    State(store): State<Store>,
    caller: Caller,
    id: TaskId,
    precondition: Precondition,
    Json(completion): Json<Completion>,
) -> Result<Response, Problem> {
    one(&store.change(caller, id, completion.into(), precondition, Moment::now()).await?)
}

/// Delete a task
#[utoipa::path(
    delete, path = "/api/{user_id}/tasks/{id}", tag = "tasks",
    params(UserPath, TaskPath, CallerHeader, PreconditionHeader),
    responses(
        (status = 204, description = "It is gone"),
        (status = 507, body = Document, content_type = "application/problem+json", description = "There is no room left, not even to delete"),
        Refused, NotFound, ChangeRefused
    ),
)]
pub(crate) async fn delete(
    State(store): State<Store>,
    caller: Caller,
    id: TaskId,
    precondition: Precondition,
) -> Result<StatusCode, Problem> {
    store.delete(caller, id, precondition).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Any path that is nobody's.
pub(crate) async fn path_unknown() -> Problem {
    Problem::new(Code::PathUnknown, "There is nothing at this path; tasks are at /api/{user_id}/tasks.")
}

/// Any method that a path does not have; the router adds `Allow`.
pub(crate) async fn method_not_allowed() -> Problem {
    Problem::new(Code::MethodNotAllowed, "This path does not take this method; see Allow.")
}

/// A task as it is after a write.
fn one(task: &Task) -> Result<Response, Problem> {
    let body = json::text(task);
    let tag = entity_tag(Fingerprint::of(&body));
    tagged(StatusCode::OK, body, &tag)
}

/// What was read, unless the client has it already.
fn read(headers: &HeaderMap, body: Vec<u8>, seen: Fingerprint) -> Result<Response, Problem> {
    let tag = entity_tag(seen);
    if is_known(headers, &tag) {
        return tagged(StatusCode::NOT_MODIFIED, Vec::new(), &tag);
    }
    tagged(StatusCode::OK, body, &tag)
}

fn tagged(status: StatusCode, body: Vec<u8>, tag: &str) -> Result<Response, Problem> {
    // Each user sees something else at the same address, so no shared cache may keep it.
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "private, no-cache")];
    let mut response = (status, headers, body).into_response();
    if status == StatusCode::NOT_MODIFIED {
        response.headers_mut().remove(header::CONTENT_TYPE);
    }
    set(&mut response, header::ETAG, tag)?;
    Ok(response)
}

fn set(response: &mut Response, name: HeaderName, value: &str) -> Result<(), Problem> {
    let value =
        HeaderValue::from_str(value).map_err(|_| Problem::new(Code::Internal, "The path cannot stand in a header."))?;
    response.headers_mut().insert(name, value);
    Ok(())
}
