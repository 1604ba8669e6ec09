//! The bodies of HTTP requests and answers.
//!
//! They are CBOR; the JSON form is made from it by the rule of
//! [`crate::json`]. Transforms are 16 float64, row-major, ids UUID text.

mod admin;
mod branes;
mod duplicate;
mod health;
mod objects;
mod portals;
mod rights;
#[cfg(feature = "openapi")]
pub mod schema;
mod sign_in;
mod submit;
mod things;
mod tokens;
mod words;

use avvy_model::{Code, TraceId};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::codec::{self, code, from_cbor, text, to_cbor_value, whole};
use crate::{Channel, DecodeError, ErrorMessage, json};

pub use admin::{OpenBraneBody, StatusBody};
pub use branes::{ArchiveBrane, BraneBody, BranePage, CreateBrane, PatchBrane};
pub use duplicate::DuplicateBrane;
pub use health::HealthBody;
pub use objects::{ObjectBody, ObjectPage};
pub use portals::{CreatePortal, NewPortalBody, PortalBody, PortalEnd, PortalPage, WayBody};
pub use rights::{
    GrantBody, RegionBody, RightsBody, RightsTable, RoleBody, RuledBody, RulingBody, RulingPage,
    SanctionBody, StandingBody, verb_names,
};
pub use sign_in::{
    AccountBody, AccountsBody, AskChallenge, ChallengeBody, DevelopmentSignIn, ProvidersBody,
    RefreshBody, SignInBody, SignInsBody, SignedBody, TicketBody, TokensBody, WalletsBody,
};
pub use submit::{EditOutcome, EditResult, SubmitEdits, SubmitResponse, decode_submit};
pub use things::{
    CreateObject, CreatePrototype, Deprecate, FollowedBody, InstanceBody, MovedBody, OfferBody,
    OffersBody, OwnObjectBody, PatchMe, PatchObject, PatchPrototype, PlaceObject, PlacePrototype,
    PrototypeBody, Publish, PutIntoGallery, TakeObject, ThingBody, ThingPage, UpdateInstances,
    UsageBody, UserBody, VersionBody,
};
pub use tokens::{RevokeTokens, RevokedBody};

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
    match format {
        Format::Cbor => codec::to_deterministic(to_cbor_value(body)),
        Format::Json => json::of_body(body).to_string().into_bytes(),
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
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ErrorMessageResponse {
    /// The stable code, by its name.
    #[serde(with = "code")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::code))]
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
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::id))]
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
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::handle))]
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
