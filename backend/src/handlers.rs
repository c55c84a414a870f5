//! What each request does, once it is read.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, Uri, header};
use serde::Serialize;

use crate::caller::Caller;
use crate::json::{self, Json};
use crate::problem::{Code, Problem};
use crate::query::ListQuery;
use crate::store::Store;
use crate::task::{Change, Completion, Draft, Moment, Task, TaskId};

/// `POST /api/{user_id}/tasks`
pub(crate) async fn create(
    State(store): State<Store>,
    caller: Caller,
    uri: Uri,
    Json(draft): Json<Draft>,
) -> Result<Response, Problem> {
    let task = store.create(caller, draft, Moment::now()).await?;
    let location = format!("{}/{}", uri.path(), task.id.0);
    let mut response = (StatusCode::CREATED, body(&task)).into_response();
    set(&mut response, header::LOCATION, &location)?;
    Ok(response)
}

/// `GET /api/{user_id}/tasks`
pub(crate) async fn list(
    State(store): State<Store>,
    caller: Caller,
    uri: Uri,
    query: ListQuery,
) -> Result<Response, Problem> {
    let page = store.list(caller, query.clone()).await?;
    let mut response = body(&page.tasks);
    if let (true, Some(last)) = (page.more, page.tasks.last()) {
        let link = format!("<{}?{}>; rel=\"next\"", uri.path(), query.next_page(last.id));
        set(&mut response, header::LINK, &link)?;
    }
    Ok(response)
}

/// `GET /api/{user_id}/tasks/{id}`
pub(crate) async fn find(State(store): State<Store>, caller: Caller, id: TaskId) -> Result<Response, Problem> {
    found(store.find(caller, id).await?)
}

/// `PUT /api/{user_id}/tasks/{id}`
pub(crate) async fn replace(
    State(store): State<Store>,
    caller: Caller,
    id: TaskId,
    Json(draft): Json<Draft>,
) -> Result<Response, Problem> {
    found(store.change(caller, id, draft.into(), Moment::now()).await?)
}

/// `PATCH /api/{user_id}/tasks/{id}/complete`
pub(crate) async fn complete(
    State(store): State<Store>,
    caller: Caller,
    id: TaskId,
    Json(completion): Json<Completion>,
) -> Result<Response, Problem> {
    found(store.change(caller, id, Change::from(completion), Moment::now()).await?)
}

/// `DELETE /api/{user_id}/tasks/{id}`
pub(crate) async fn delete(State(store): State<Store>, caller: Caller, id: TaskId) -> Result<StatusCode, Problem> {
    if store.delete(caller, id).await? { Ok(StatusCode::NO_CONTENT) } else { Err(Problem::task_not_found()) }
}

/// Any path that is nobody's.
pub(crate) async fn path_unknown() -> Problem {
    Problem::new(Code::PathUnknown, "There is nothing at this path; tasks are at /api/{user_id}/tasks.")
}

/// Any method that a path does not have; the router adds `Allow`.
pub(crate) async fn method_not_allowed() -> Problem {
    Problem::new(Code::MethodNotAllowed, "This path does not take this method; see Allow.")
}

fn found(task: Option<Task>) -> Result<Response, Problem> {
    task.map(|task| body(&task)).ok_or_else(Problem::task_not_found)
}

fn body<T: Serialize>(value: &T) -> Response {
    let json = HeaderValue::from_static("application/json");
    ([(header::CONTENT_TYPE, json)], json::text(value)).into_response()
}

fn set(response: &mut Response, name: header::HeaderName, value: &str) -> Result<(), Problem> {
    let value =
        HeaderValue::from_str(value).map_err(|_| Problem::new(Code::Internal, "The path cannot stand in a header."))?;
    response.headers_mut().insert(name, value);
    Ok(())
}
