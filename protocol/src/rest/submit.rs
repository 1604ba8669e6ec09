//! `POST /api/v1/brane/{id}/edits`: the same edits as on the WebSocket.

use avvy_model::{ClientId, Code, Counter, Epoch, NumberedEdit, Refusal, Seq, TraceId};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Format, cbor_body};
use crate::codec::{self, code, decode_edits, from_cbor, text, text_option};
use crate::{DecodeError, DecodeLimits, RefusedEdit};

/// A request to apply edits.
#[derive(Clone, PartialEq, Debug)]
pub struct SubmitEdits {
    /// The client that numbers them.
    pub client: ClientId,
    /// As in [`crate::Join::known`].
    pub known: bool,
    /// Kept in log lines and the journal.
    pub trace: Option<TraceId>,
    /// With rising numbers.
    pub edits: Vec<NumberedEdit>,
    /// Those that could not be read, with their reasons. They belong into the
    /// answer, beside the outcomes of the others.
    pub refused: Vec<RefusedEdit>,
}

/// Reads a body with edits.
///
/// # Errors
/// `too_large`, or `malformed` when it is not such a body or an edit has no
/// number.
pub fn decode_submit(
    body: &[u8],
    format: Format,
    limits: &DecodeLimits,
) -> Result<SubmitEdits, DecodeError> {
    let cbor = cbor_body(body, format, limits.max_message_bytes)?;
    codec::check_whole(&cbor)?;
    let head: SubmitHead = from_cbor(&cbor)?;
    let (edits, refused) = decode_edits(codec::field(&cbor, "edits")?, limits)?;
    let SubmitHead { client, known, trace } = head;
    Ok(SubmitEdits { client, known, trace, edits, refused })
}

#[derive(Deserialize)]
struct SubmitHead {
    #[serde(with = "text")]
    client: ClientId,
    #[serde(default)]
    known: bool,
    #[serde(default, with = "text_option")]
    trace: Option<TraceId>,
}

#[cfg(feature = "openapi")]
impl utoipa::PartialSchema for SubmitEdits {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
        use super::schema;
        utoipa::openapi::ObjectBuilder::new()
            .description(Some("A request to apply edits."))
            .property("client", schema::id())
            .property("known", utoipa::schema!(bool))
            .property("trace", schema::id())
            .property("edits", schema::edits())
            .required("client")
            .required("edits")
            .into()
    }
}

#[cfg(feature = "openapi")]
impl utoipa::ToSchema for SubmitEdits {}

/// What became of submitted edits.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SubmitResponse {
    /// The epoch of every `seq` in it.
    #[cfg_attr(feature = "openapi", schema(schema_with = super::schema::counter))]
    pub epoch: Epoch,
    /// Whether all applied ones were durable when the answer was sent.
    pub durable: bool,
    /// One for each edit, in their order.
    #[cfg_attr(feature = "openapi", schema(schema_with = super::schema::outcomes))]
    pub outcomes: Vec<EditOutcome>,
}

/// What became of one edit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EditOutcome {
    /// Its number.
    pub counter: Counter,
    /// Applied or refused.
    pub result: EditResult,
}

/// The two ends of an edit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EditResult {
    /// It is in the log, at this place.
    Applied(Seq),
    /// It is not.
    Refused(Refusal),
}

/// `{"n", "seq"}` or `{"n", "code", "operation"?}`.
#[derive(Serialize, Deserialize)]
struct OutcomeWire {
    n: Counter,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seq: Option<Seq>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    code: Option<CodeWire>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    operation: Option<u32>,
}

#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct CodeWire(#[serde(with = "code")] Code);

impl Serialize for EditOutcome {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let n = self.counter;
        let wire = match self.result {
            EditResult::Applied(seq) => {
                OutcomeWire { n, seq: Some(seq), code: None, operation: None }
            }
            EditResult::Refused(Refusal { code, operation }) => {
                OutcomeWire { n, seq: None, code: Some(CodeWire(code)), operation }
            }
        };
        wire.serialize(s)
    }
}

impl<'de> Deserialize<'de> for EditOutcome {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let OutcomeWire { n, seq, code, operation } = OutcomeWire::deserialize(d)?;
        let result = match (seq, code) {
            (Some(seq), None) => EditResult::Applied(seq),
            (None, Some(CodeWire(code))) => EditResult::Refused(Refusal { code, operation }),
            _ => return Err(serde::de::Error::custom("an outcome has either `seq` or `code`")),
        };
        Ok(Self { counter: n, result })
    }
}
