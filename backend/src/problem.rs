//! The closed list of refusals and the one place where they become responses (RFC 9457).

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use crate::store::{Refusal, StoreError};

/// What a refusal is called. The names are part of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum Code {
    /// There is not exactly one non-empty `X-User-Id`.
    CallerMissing,
    /// The body is no JSON, or not the JSON that was asked for.
    BodyInvalid,
    /// The query string asks for something that does not exist.
    QueryInvalid,
    /// The idempotency key is repeated, empty, too long or not printable ASCII.
    IdempotencyKeyInvalid,
    /// The caller would keep more than the quota.
    QuotaExceeded,
    /// The caller has no task of that id.
    TaskNotFound,
    /// No resource has that path.
    PathUnknown,
    /// The resource has no such method.
    MethodNotAllowed,
    /// The task is not in the state that `If-Match` names.
    PreconditionFailed,
    /// The idempotency key was used for another task.
    IdempotencyKeyReused,
    /// The body is longer than [`crate::receive::BODY_BYTES`].
    BodyTooLarge,
    /// The content type is not JSON.
    ContentTypeUnsupported,
    /// A fault of ours.
    Internal,
    /// The store cannot be reached, is locked or is read-only; trying again later may help.
    StorageUnavailable,
    /// The store has no room left.
    StorageFull,
}

impl Code {
    /// The stable name, as it stands in `code`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::CallerMissing => "caller_missing",
            Self::BodyInvalid => "body_invalid",
            Self::QueryInvalid => "query_invalid",
            Self::IdempotencyKeyInvalid => "idempotency_key_invalid",
            Self::QuotaExceeded => "quota_exceeded",
            Self::TaskNotFound => "task_not_found",
            Self::PathUnknown => "path_unknown",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::PreconditionFailed => "precondition_failed",
            Self::IdempotencyKeyReused => "idempotency_key_reused",
            Self::BodyTooLarge => "body_too_large",
            Self::ContentTypeUnsupported => "content_type_unsupported",
            Self::Internal => "internal",
            Self::StorageUnavailable => "storage_unavailable",
            Self::StorageFull => "storage_full",
        }
    }

    /// The status that goes with the code.
    pub const fn status(self) -> StatusCode {
        match self {
            Self::CallerMissing | Self::BodyInvalid | Self::QueryInvalid | Self::IdempotencyKeyInvalid => {
                StatusCode::BAD_REQUEST
            }
            Self::QuotaExceeded => StatusCode::FORBIDDEN,
            Self::TaskNotFound | Self::PathUnknown => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
            Self::IdempotencyKeyReused => StatusCode::UNPROCESSABLE_ENTITY,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::ContentTypeUnsupported => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::StorageUnavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::StorageFull => StatusCode::INSUFFICIENT_STORAGE,
        }
    }

    const fn title(self) -> &'static str {
        match self {
            Self::CallerMissing => "The caller is not known",
            Self::BodyInvalid => "The body is not valid",
            Self::QueryInvalid => "The query is not valid",
            Self::IdempotencyKeyInvalid => "The idempotency key is not valid",
            Self::QuotaExceeded => "The quota is used up",
            Self::TaskNotFound => "No such task",
            Self::PathUnknown => "No such path",
            Self::MethodNotAllowed => "Method not allowed",
            Self::PreconditionFailed => "The task has changed",
            Self::IdempotencyKeyReused => "The idempotency key is taken",
            Self::BodyTooLarge => "The body is too large",
            Self::ContentTypeUnsupported => "The content type is not supported",
            Self::Internal => "Internal error",
            Self::StorageUnavailable => "The store is not available",
            Self::StorageFull => "The store is full",
        }
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// One fault of a body or a query.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldFault {
    /// The member or parameter; empty when the fault is of the whole.
    pub field: String,
    /// What is wrong, and what is wanted instead.
    pub message: String,
}

impl FieldFault {
    /// A fault of `field`, or of the whole if that is empty.
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into() }
    }
}

/// A refusal on its way to the client.
#[derive(Debug)]
pub struct Problem {
    code: Code,
    detail: String,
    errors: Vec<FieldFault>,
}

impl Problem {
    /// A refusal with a sentence for the person who reads it.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), errors: Vec::new() }
    }

    /// A refusal that lists every fault found.
    pub fn of_fields(code: Code, errors: Vec<FieldFault>) -> Self {
        let detail = match errors.len() {
            1 => "One fault was found; see errors.".to_owned(),
            count => format!("{count} faults were found; see errors."),
        };
        Self { code, detail, errors }
    }

    /// The answer for a task that is not there or not the caller's: the two are not told apart.
    pub fn task_not_found() -> Self {
        Self::new(Code::TaskNotFound, "You have no task with this id.")
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NoTask => Self::task_not_found(),
            Refusal::Changed => Self::new(
                Code::PreconditionFailed,
                "The task is not as If-Match or If-None-Match asks; read it again first.",
            ),
            Refusal::KeyReused => Self::new(
                Code::IdempotencyKeyReused,
                "You used this Idempotency-Key for another task; take a new key for a new task.",
            ),
            Refusal::QuotaExceeded => {
                Self::new(Code::QuotaExceeded, "You would keep more than you may; delete something first.")
            }
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let (code, detail) = match &error {
            StoreError::Refused(refusal) => return Self::from(*refusal),
            StoreError::Full(_) => {
                (Code::StorageFull, "There is no room for this now; nothing was changed. Reading goes on.")
            }
            StoreError::Unavailable(_) => {
                (Code::StorageUnavailable, "The store cannot do this now; nothing was changed. Try again in a moment.")
            }
            StoreError::Internal(_) => (Code::Internal, "Something went wrong on our side; the log has it."),
        };
        tracing::error!(error = &error as &dyn std::error::Error, "the store failed");
        Self::new(code, detail)
    }
}

/// A refusal as it is sent: problem details (RFC 9457) with a code, and every fault of a body or a query.
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct Document {
    /// Names the kind of problem.
    r#type: String,
    /// The kind in words.
    title: &'static str,
    /// The status of the response.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// What to do about it.
    detail: String,
    #[schema(inline)]
    code: Code,
    /// Every fault found.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(nullable = false)]
    errors: Vec<FieldFault>,
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.code.status();
        let document = Document {
            r#type: format!("urn:task-service:problem:{}", self.code.name()),
            title: self.code.title(),
            status: status.as_u16(),
            detail: self.detail,
            code: self.code,
            errors: self.errors,
        };
        let mut response = (status, crate::json::text(&document)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response.extensions_mut().insert(self.code);
        response
    }
}
