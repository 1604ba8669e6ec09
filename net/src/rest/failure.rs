//! Errors of HTTP: a code of the catalogue, and what the answer says of it.

use avvy_actors::Denied;
use avvy_auth::rate::RetryAfterMs;
use avvy_model::{Code, TraceId};
use avvy_protocol::rest::{ErrorMessageResponse, Format, encode};
use avvy_protocol::{DecodeError, ErrorMessage};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::negotiate::VARY;

/// When to ask again where nothing better is known.
const PAUSE_MS: u64 = 1_000;

/// Why a request was not served.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Failure {
    code: Code,
    status: Option<StatusCode>,
    details: Option<String>,
    retry_after_ms: Option<u64>,
    /// Of the node where it is served.
    address: Option<String>,
}

impl Failure {
    pub(crate) fn new(code: Code) -> Self {
        let retry_after_ms = matches!(
            code,
            Code::Unavailable | Code::BraneFull | Code::RateLimited | Code::InProgress
        )
        .then_some(PAUSE_MS);
        Self { code, status: None, details: None, retry_after_ms, address: None }
    }

    /// More for people.
    pub(crate) fn details(self, details: impl Into<String>) -> Self {
        Self { details: Some(details.into()), ..self }
    }

    /// When trying again helps.
    pub(super) fn retry_after_ms(self, ms: u64) -> Self {
        Self { retry_after_ms: Some(ms), ..self }
    }

    /// Another status than the code's own.
    pub(super) fn status(self, status: StatusCode) -> Self {
        Self { status: Some(status), ..self }
    }

    pub(super) fn code(&self) -> Code {
        self.code
    }

    pub(super) fn http_status(&self) -> StatusCode {
        self.status.unwrap_or_else(|| status_of(self.code))
    }

    /// The answer, as an `ErrorMessageResponse`.
    pub(super) fn answer(&self, trace: TraceId, format: Format, now_ms: u64) -> Response {
        let message = ErrorMessage {
            code: self.code,
            message: self.code.meaning().to_owned(),
            details: self.details.clone(),
            trace,
            retry_after_ms: self.retry_after_ms,
            operation: None,
            channel: None,
            address: self.address.clone(),
        };
        let body = encode(&ErrorMessageResponse::new(&message, now_ms), format);
        let form = HeaderValue::from_static(format.media_type());
        let told = [(header::CONTENT_TYPE, form), (header::VARY, VARY)];
        let mut response = (self.http_status(), told, body).into_response();
        let headers = response.headers_mut();
        if let Some(ms) = self.retry_after_ms {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(ms.div_ceil(1_000).max(1)));
        }
        if response.status() == StatusCode::UNAUTHORIZED {
            let bearer = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, bearer);
        }
        response
    }
}

impl From<Code> for Failure {
    fn from(code: Code) -> Self {
        Self::new(code)
    }
}

impl From<Denied> for Failure {
    fn from(denied: Denied) -> Self {
        let Denied { code, address, retry_after_ms } = denied;
        let failure = Self::new(code);
        let retry_after_ms = retry_after_ms.or(failure.retry_after_ms);
        Self { address, retry_after_ms, ..failure }
    }
}

impl From<DecodeError> for Failure {
    fn from(error: DecodeError) -> Self {
        Self::new(error.code).details(error.reason)
    }
}

impl From<RetryAfterMs> for Failure {
    fn from(after: RetryAfterMs) -> Self {
        let retry_after_ms = (after != RetryAfterMs::NEVER).then_some(after.0);
        Self { retry_after_ms, ..Self::new(Code::RateLimited) }
    }
}

impl IntoResponse for Failure {
    /// Only carries it: the edge knows the trace id and the form, and makes
    /// the answer.
    fn into_response(self) -> Response {
        let mut response = self.http_status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// The status under which HTTP tells a code.
pub(super) const fn status_of(code: Code) -> StatusCode {
    match code {
        Code::Malformed | Code::UnknownOperation | Code::UnsupportedVersion => {
            StatusCode::BAD_REQUEST
        }
        Code::NotAuthenticated | Code::TokenInvalid | Code::TokenExpired | Code::TokenRevoked => {
            StatusCode::UNAUTHORIZED
        }
        Code::Forbidden
        | Code::NotPermitted
        | Code::RootProtected
        | Code::Banned
        | Code::ArchivedByOperator
        | Code::Muted
        | Code::BeyondOwn
        | Code::ProofInvalid => StatusCode::FORBIDDEN,
        Code::NotFound | Code::ObjectNotFound | Code::GrantNotFound => StatusCode::NOT_FOUND,
        Code::BraneArchived | Code::BraneDeleted => StatusCode::GONE,
        Code::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        Code::NotJoined
        | Code::AlreadyJoined
        | Code::TooManyChannels
        | Code::TooManyBranes
        | Code::NoPose
        | Code::TooManySessions
        | Code::Exists
        | Code::Conflict
        | Code::Published
        | Code::NotPublished
        | Code::Superseded
        | Code::InGroup
        | Code::InTransfer
        | Code::TooManyOwnObjects
        | Code::TooManyOwnBytes
        | Code::TooManyPrototypes
        | Code::TooManyDrafts
        | Code::ObjectExists
        | Code::GrantExists
        | Code::RoleInUse
        | Code::PrototypeFollowed
        | Code::PrototypeNotFollowed
        | Code::PrototypeInUse
        | Code::CellTaken
        | Code::CellsOverlap
        | Code::SlotTaken
        | Code::OutcomeUnknown
        | Code::ClientUnknown
        | Code::ClientTaken
        | Code::KeyReused
        | Code::InProgress => StatusCode::CONFLICT,
        Code::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
        Code::PreconditionRequired => StatusCode::PRECONDITION_REQUIRED,
        Code::TooLarge | Code::BatchTooLarge | Code::ValueTooLarge | Code::PropsTooLarge => {
            StatusCode::PAYLOAD_TOO_LARGE
        }
        Code::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Code::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        Code::Internal | Code::Damaged => StatusCode::INTERNAL_SERVER_ERROR,
        Code::Unavailable | Code::BraneFull => StatusCode::SERVICE_UNAVAILABLE,
        Code::Timeout => StatusCode::GATEWAY_TIMEOUT,
        Code::Moved => StatusCode::MISDIRECTED_REQUEST,
        Code::ParentNotFound
        | Code::ParentNotGroup
        | Code::Cycle
        | Code::TooDeep
        | Code::TooManyObjects
        | Code::HandlesExhausted
        | Code::OutOfRange
        | Code::ValueMalformed
        | Code::Empty
        | Code::TouchesTooMany
        | Code::EditTooLarge
        | Code::RoleUnknown
        | Code::TreeTooLarge
        | Code::GalleryFull
        | Code::TooManyRights
        | Code::RulingInvalid
        | Code::PropertyReserved
        | Code::TooManyFollowed
        | Code::FootprintInvalid
        | Code::TooManyCells
        | Code::CarrierNotFound
        | Code::SlotNotFound
        | Code::InterfaceInvalid
        | Code::BraneTooLarge => StatusCode::UNPROCESSABLE_ENTITY,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use avvy_protocol::rest::decode;
    use axum::body::to_bytes;
    use uuid::Uuid;

    use super::*;

    const TRACE: TraceId = TraceId::new(Uuid::from_u128(7));

    async fn body(response: Response, format: Format) -> ErrorMessageResponse {
        let content_type = response.headers()[header::CONTENT_TYPE].to_str().unwrap();
        assert_eq!(content_type, format.media_type());
        let bytes = to_bytes(response.into_body(), 10_000).await.unwrap();
        decode(&bytes, format, 10_000).unwrap()
    }

    #[tokio::test]
    async fn every_code_is_answered_in_both_forms() {
        for &code in Code::ALL {
            for format in [Format::Cbor, Format::Json] {
                let failure = Failure::new(code).details("more");
                let answer = failure.answer(TRACE, format, 5_999);
                assert!(answer.status().is_client_error() || answer.status().is_server_error());
                let body = body(answer, format).await;
                assert_eq!((body.code, body.number, body.timestamp), (code, code.number(), 5));
                assert_eq!((body.trace_id, body.details.as_deref()), (TRACE, Some("more")));
            }
        }
    }

    #[test]
    fn says_when_to_try_again() {
        let retry_after = |failure: Failure| {
            let answer = failure.answer(TRACE, Format::Cbor, 0);
            answer.headers().get(header::RETRY_AFTER).map(|v| v.to_str().unwrap().to_owned())
        };
        for (ms, seconds) in [(0, "1"), (1, "1"), (1_000, "1"), (1_001, "2")] {
            assert_eq!(retry_after(RetryAfterMs(ms).into()).as_deref(), Some(seconds));
        }
        assert_eq!(retry_after(RetryAfterMs::NEVER.into()), None);
        assert_eq!(retry_after(Code::Unavailable.into()).as_deref(), Some("1"));
        assert_eq!(retry_after(Code::NotFound.into()), None);
    }

    #[test]
    fn asks_for_a_token_where_one_is_missing() {
        let answer = Failure::new(Code::TokenExpired).answer(TRACE, Format::Json, 0);
        assert_eq!(answer.headers()[header::WWW_AUTHENTICATE], "Bearer");
    }

    /// `docs/API.md` lists every code; `AVVY_BLESS=1` writes the list.
    #[test]
    fn the_catalogue_in_the_docs_is_this_one() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/API.md");
        let text = std::fs::read_to_string(file).unwrap();
        let (before, rest) = text.split_once("<!-- codes: begin").unwrap();
        let (marker, rest) = rest.split_once('\n').unwrap();
        let (listed, after) = rest.split_once("<!-- codes: end").unwrap();
        let rows = Code::ALL.iter().map(|&code| {
            let (number, name, status) = (code.number(), code.name(), status_of(code).as_u16());
            format!("| {number} | `{name}` | {status} | {} |\n", code.meaning())
        });
        let table = format!(
            "\n| number | code | status | meaning |\n|---|---|---|---|\n{}\n",
            rows.collect::<String>()
        );
        if std::env::var_os("AVVY_BLESS").is_some() {
            let text = format!("{before}<!-- codes: begin{marker}\n{table}<!-- codes: end{after}");
            std::fs::write(file, text).unwrap();
        } else {
            assert_eq!(listed, table, "run the test with AVVY_BLESS=1");
        }
    }
}
