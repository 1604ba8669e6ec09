//! The bodies of HTTP requests and answers.
//!
//! They are CBOR; the JSON form is made from it by the rule of
//! [`crate::json`]. Transforms are 16 float64, row-major, ids UUID text.

mod submit;
mod words;

use std::collections::BTreeMap;

use avvy_model::{
    BraneId, Code, Followed, Handle, Kind, Object, ObjectId, Position, Props, PrototypeId, TraceId,
    UserId, Visibility,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::codec::{self, code, from_cbor, kind, position, text, to_cbor_value, visibility, whole};
use crate::{Channel, DecodeError, ErrorMessage, json};

pub use submit::{EditOutcome, EditResult, SubmitEdits, SubmitResponse, decode_submit};

/// The form of a body.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Format {
    /// `application/cbor`: what is used when nothing is asked for.
    #[default]
    Cbor,
    /// `application/json`: on request.
    Json,
}

impl Format {
    /// The content type.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Cbor => "application/cbor",
            Self::Json => "application/json",
        }
    }

    /// The form of a media type; its parameters do not matter.
    pub fn from_media_type(text: &str) -> Option<Self> {
        let essence = text.split(';').next().unwrap_or(text).trim();
        [Self::Cbor, Self::Json].into_iter().find(|f| essence.eq_ignore_ascii_case(f.media_type()))
    }
}

/// Writes a body.
pub fn encode<T: Serialize>(body: &T, format: Format) -> Vec<u8> {
    let value = to_cbor_value(body);
    match format {
        Format::Cbor => codec::to_deterministic(value),
        Format::Json => json::from_cbor(&value).to_string().into_bytes(),
    }
}

/// Reads a body of at most `max_bytes`.
///
/// # Errors
/// `too_large`, or `malformed` when it is not of the form or not such a body.
pub fn decode<T: DeserializeOwned>(
    body: &[u8],
    format: Format,
    max_bytes: usize,
) -> Result<T, DecodeError> {
    let cbor = cbor_body(body, format, max_bytes)?;
    codec::check_whole(&cbor)?;
    Ok(from_cbor(&cbor)?)
}

/// The body as CBOR, whatever form it came in.
fn cbor_body(
    body: &[u8],
    format: Format,
    max_bytes: usize,
) -> Result<std::borrow::Cow<'_, [u8]>, codec::Fault> {
    if body.len() > max_bytes {
        let reason = "the body is larger than its limit";
        return Err(codec::Fault { code: Code::TooLarge, reason });
    }
    match format {
        Format::Cbor => Ok(body.into()),
        Format::Json => {
            let not_json = codec::Fault::malformed("not well-formed JSON of a form stated");
            let json = json::parse(body).map_err(|_| not_json)?;
            let value = json::to_cbor(&json).map_err(|_| not_json)?;
            Ok(codec::to_deterministic(value).into())
        }
    }
}

/// `ErrorMessageResponse`: every error, on HTTP and on the WebSocket.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ErrorMessageResponse {
    /// The stable code, by its name.
    #[serde(with = "code")]
    pub code: Code,
    /// The same code by its number.
    pub number: u16,
    /// A sentence for people.
    pub message: String,
    /// More for people, if there is more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<String>,
    /// Finds the request in the server's log.
    #[serde(with = "text")]
    pub trace_id: TraceId,
    /// When to try again, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// Server's Unix time in seconds.
    #[serde(with = "whole")]
    pub timestamp: u64,
    /// The operation that it answers, on the WebSocket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    /// The channel that it concerns, on the WebSocket.
    #[serde(default, rename = "ch", skip_serializing_if = "Option::is_none")]
    pub channel: Option<Channel>,
    /// With `moved`: the URL of the node where the brane is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
}

impl ErrorMessageResponse {
    /// The body of an error that is told at `now_ms`, Unix time in milliseconds.
    pub fn new(error: &ErrorMessage, now_ms: u64) -> Self {
        Self {
            code: error.code,
            number: error.code.number(),
            message: error.message.clone(),
            details: error.details.clone(),
            trace_id: error.trace,
            retry_after_ms: error.retry_after_ms,
            timestamp: now_ms / 1_000,
            operation: error.operation.clone(),
            channel: error.channel,
            address: error.address.clone(),
        }
    }
}

impl From<ErrorMessageResponse> for ErrorMessage {
    fn from(body: ErrorMessageResponse) -> Self {
        Self {
            code: body.code,
            message: body.message,
            details: body.details,
            trace: body.trace_id,
            retry_after_ms: body.retry_after_ms,
            operation: body.operation,
            channel: body.channel,
            address: body.address,
        }
    }
}

/// A brane, as `GET /api/v1/brane/{id}` shows it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BraneBody {
    /// Its id; also the id of its root object.
    #[serde(with = "text")]
    pub id: BraneId,
    /// Its name for people.
    pub name: String,
    /// Whose it is.
    #[serde(with = "text")]
    pub owner: UserId,
    /// What it is for: `personal`, `showcase`, `rental` or `public`.
    pub kind: String,
    /// Who may see it.
    #[serde(with = "visibility")]
    pub visibility: Visibility,
    /// When it was made, Unix time in seconds.
    #[serde(with = "whole")]
    pub timestamp: u64,
}

/// Asks for a new brane.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct CreateBrane {
    /// Its id, drawn by the client (UUID v4), so that the request can be
    /// repeated; the server draws one when there is none.
    #[serde(default, with = "codec::text_option", skip_serializing_if = "Option::is_none")]
    pub id: Option<BraneId>,
    /// Its name for people.
    pub name: String,
    /// What it is for; `personal` when left out.
    #[serde(default = "personal")]
    pub kind: String,
    /// Who may see it; private when left out.
    #[serde(default = "private", with = "visibility")]
    pub visibility: Visibility,
    /// The edge of the cells that its areas go by, in metres, 0.1 to 10,000;
    /// 16 when left out.
    #[serde(default, with = "words::real_option", skip_serializing_if = "Option::is_none")]
    pub cell_size: Option<f64>,
}

/// Asks for tokens of one's own to be revoked: one of the three, or none for
/// the token that asks.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct RevokeTokens {
    /// The token itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// The token's `jti`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// All whose `iat` is before this, in Unix seconds; a later time than now
    /// counts as now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<u64>,
}

/// Tokens were revoked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RevokedBody {
    /// The Unix second until which it is remembered: they have ended by then.
    #[serde(with = "whole")]
    pub until: u64,
}

/// A page of branes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BranePage {
    /// The oldest first.
    pub branes: Vec<BraneBody>,
    /// Give this as `after` to get the next page; absent on the last one.
    /// What is in it is the server's business.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// An object of a brane.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ObjectBody {
    /// Its ordinal in the brane.
    pub handle: Handle,
    /// Its name everywhere.
    #[serde(with = "text")]
    pub id: ObjectId,
    /// The group it is in; the root is in itself.
    #[serde(with = "text")]
    pub parent: ObjectId,
    /// Group or block.
    #[serde(with = "kind")]
    pub kind: Kind,
    /// Whose it is.
    #[serde(with = "text")]
    pub owner: UserId,
    /// Row-major 4 x 4 matrix relative to the parent, metres in the last column.
    #[serde(with = "words::matrix")]
    pub transform: [f64; 16],
    /// Its own properties.
    #[serde(with = "words::props")]
    pub props: Props,
    /// Its properties with the defaults of its prototype; absent when these are
    /// its own.
    #[serde(default, with = "words::optional_props", skip_serializing_if = "Option::is_none")]
    pub in_effect: Option<Props>,
}

impl ObjectBody {
    /// The body of an object whose parent has this id, in a brane that follows
    /// these prototypes.
    pub fn new(
        handle: Handle,
        object: &Object,
        parent: ObjectId,
        followed: &BTreeMap<PrototypeId, Followed>,
    ) -> Self {
        let defaults = object.prototype().and_then(|prototype| followed.get(&prototype));
        Self {
            handle,
            id: object.id,
            parent,
            kind: object.kind,
            owner: object.owner,
            transform: object.transform.to_matrix(),
            props: object.props.clone(),
            in_effect: defaults.map(|followed| object.props.over(&followed.defaults)),
        }
    }
}

/// A page of a brane's objects.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ObjectPage {
    /// The state that the page shows. Pages of one walk may show different ones.
    #[serde(with = "position")]
    pub at: Position,
    /// In the order of their handles.
    pub objects: Vec<ObjectBody>,
    /// Give this as `after` to get the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Handle>,
}

fn personal() -> String {
    "personal".to_owned()
}

const fn private() -> Visibility {
    Visibility::Private
}
