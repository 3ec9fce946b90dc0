//! What a request is told when it cannot be answered: `{"error": {"code", "message", "column"}}`.

use engine::store::QueryError;
use record::filter::FilterError;
use warp::http::StatusCode;
use warp::http::header::{ALLOW, HeaderValue, RETRY_AFTER};

use crate::answer::{Answer, json};

/// An error on its way to the client. The message is lower case, carries the value, and says what to write instead.
#[derive(Debug)]
pub struct ApiError {
    pub status: StatusCode,
    pub code: &'static str,
    pub message: String,
    /// Where in `q`, in characters from 1.
    pub column: Option<usize>,
    /// `Allow` of a 405.
    pub allow: Option<&'static str>,
    /// `Retry-After` of a 503.
    pub retry_seconds: Option<u32>,
}

impl ApiError {
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> ApiError {
        ApiError { status, code, message: message.into(), column: None, allow: None, retry_seconds: None }
    }

    pub fn bad_request(code: &'static str, message: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::BAD_REQUEST, code, message)
    }

    pub fn not_found(message: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    pub fn busy(message: impl Into<String>) -> ApiError {
        ApiError { retry_seconds: Some(1), ..ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "busy", message) }
    }

    pub fn internal(message: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", message)
    }

    pub fn into_answer(self) -> Answer {
        let mut body = Vec::with_capacity(96 + self.message.len());
        body.extend_from_slice(b"{\"error\":{\"code\":\"");
        body.extend_from_slice(self.code.as_bytes());
        body.extend_from_slice(b"\",\"message\":");
        record::text::push_json_string(self.message.as_bytes(), &mut body);
        if let Some(column) = self.column {
            body.extend_from_slice(format!(",\"column\":{column}").as_bytes());
        }
        body.extend_from_slice(b"}}");
        let mut answer = json(body);
        if let Answer::Whole(response) = &mut answer {
            *response.status_mut() = self.status;
        }
        let headers = answer.headers_mut();
        if let Some(allow) = self.allow {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        if let Some(seconds) = self.retry_seconds {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        answer
    }
}

impl From<FilterError> for ApiError {
    fn from(error: FilterError) -> ApiError {
        ApiError { column: error.column, ..ApiError::bad_request(error.code, error.message) }
    }
}

impl From<QueryError> for ApiError {
    fn from(error: QueryError) -> ApiError {
        let message = error.to_string();
        match error {
            QueryError::Deadline { .. } => ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "query_too_long", message),
            QueryError::Memory { .. } => ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "query_too_large", message),
            // Nobody reads this one.
            QueryError::Cancelled => ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "cancelled", message),
            QueryError::Store(_) => {
                tracing::error!("{message}");
                ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "store_failed", message)
            }
        }
    }
}
