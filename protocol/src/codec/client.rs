//! Client messages.

use avvy_model::{BraneId, ClientId, Code, Handle, Position};
use ciborium::Value;
use serde::{Deserialize, Serialize};

use super::area::{AreaWire, ScopeWire, read_area};
use super::edit::{decode_edits, write_numbered};
use super::envelope::{from_cbor, to_envelope};
use super::out::Out;
use super::scan::{self, Envelope, Fault, envelope, fields};
use super::{DecodeError, DecodeLimits, PartialUpdate, fast, people, position, text, whole};
use crate::{Channel, ClientMessage, Join, Resume, Update};

/// Reads one message of a client.
///
/// # Errors
/// [`DecodeError`] with `malformed`, `too_large` or `unknown_operation`. For
/// an `object.update` of which only some edits are faulty,
/// [`DecodeError::partial`] holds the others.
pub fn decode_client(bytes: &[u8], limits: &DecodeLimits) -> Result<ClientMessage, DecodeError> {
    if bytes.len() > limits.max_message_bytes {
        return Err(too_large("the message is larger than its limit").into());
    }
    if let Some(update) = fast::one_move(bytes) {
        return Ok(ClientMessage::Update(update));
    }
    let envelope = envelope(bytes, "op")?;
    let at = |fault| DecodeError::at(fault, envelope.name, envelope.channel);
    match envelope.name {
        None => Err(at(Fault::malformed("the message has no `op`"))),
        Some("object.update") => decode_update(&envelope, limits),
        Some(op) => decode_cold(op, bytes, limits).map_err(at),
    }
}

/// Writes one message of a client.
pub fn encode_client(message: &ClientMessage) -> Vec<u8> {
    match message {
        ClientMessage::Hello(hello) => op("hello", hello),
        ClientMessage::Refresh { token } => {
            op("auth.refresh", &RefreshWire { token: token.clone() })
        }
        ClientMessage::Join(join) => op("brane.join", &JoinWire::from(join)),
        ClientMessage::Leave { channel } => op("brane.leave", &ChannelWire { ch: *channel }),
        ClientMessage::View { channel, area } => {
            op("brane.view", &ViewWire { ch: *channel, area: area.as_ref().map(AreaWire::from) })
        }
        ClientMessage::Update(update) => encode_update(update),
        ClientMessage::Hash { channel } => op("brane.hash", &ChannelWire { ch: *channel }),
        ClientMessage::People(request) => people::encode_request(request),
        ClientMessage::Ping { nonce } => op("ping", &PingWire { nonce: *nonce }),
    }
}

fn op(name: &str, fields: &impl Serialize) -> Vec<u8> {
    to_envelope(fields, vec![("op", Value::from(name))])
}

fn decode_update(
    envelope: &Envelope<'_>,
    limits: &DecodeLimits,
) -> Result<ClientMessage, DecodeError> {
    let at = |fault| DecodeError::at(fault, envelope.name, envelope.channel);
    let (Some(channel), Some(edits)) = (envelope.channel, envelope.edits) else {
        return Err(at(Fault::malformed("`object.update` needs `ch` and `edits`")));
    };
    let trace = envelope.trace.map(trace_id).transpose().map_err(at)?;
    let (edits, refused) = decode_edits(edits, limits).map_err(at)?;
    let update = Update { channel, trace, edits };
    if refused.is_empty() {
        return Ok(ClientMessage::Update(update));
    }
    let fault = Fault { code: refused[0].code, reason: "an edit could not be read" };
    Err(DecodeError { partial: Some(Box::new(PartialUpdate { update, refused })), ..at(fault) })
}

fn encode_update(update: &Update) -> Vec<u8> {
    let mut out = Out::with_capacity(64 + 48 * update.edits.len());
    out.map(3 + usize::from(update.trace.is_some()));
    out.text("ch").uint(u64::from(update.channel.0)).text("op").text("object.update");
    out.text("edits").array(update.edits.len());
    for edit in &update.edits {
        write_numbered(edit, &mut out);
    }
    if let Some(trace) = update.trace {
        out.text("trace").id(trace.uuid());
    }
    out.finish()
}

fn trace_id(item: &[u8]) -> Result<avvy_model::TraceId, Fault> {
    scan::text(item)?.parse().map_err(|_| Fault::malformed("`trace` is not a UUID"))
}

fn decode_cold(op: &str, bytes: &[u8], limits: &DecodeLimits) -> Result<ClientMessage, Fault> {
    match op {
        "hello" => {
            check_text(bytes, "token", limits.max_token_bytes)?;
            check_text(bytes, "agent", limits.max_agent_bytes)?;
            from_cbor(bytes).map(ClientMessage::Hello)
        }
        "auth.refresh" => {
            check_text(bytes, "token", limits.max_token_bytes)?;
            let RefreshWire { token } = from_cbor(bytes)?;
            Ok(ClientMessage::Refresh { token })
        }
        "brane.join" => {
            check_touched(bytes, limits.max_touched)?;
            let join: JoinWire = from_cbor(bytes)?;
            let [area, view] = fields(bytes, &["area", "resume_view"])?;
            let mut join = Join::from(join);
            join.area = area.map(read_area).transpose()?;
            if let (Some(resume), Some(view)) = (&mut join.resume, view) {
                resume.scope = from_cbor::<ScopeWire>(view)?.scope();
            }
            Ok(ClientMessage::Join(join))
        }
        "brane.view" => {
            let ChannelWire { ch: channel } = from_cbor(bytes)?;
            let [area] = fields(bytes, &["area"])?;
            Ok(ClientMessage::View { channel, area: area.map(read_area).transpose()? })
        }
        "brane.leave" => {
            let ChannelWire { ch: channel } = from_cbor(bytes)?;
            Ok(ClientMessage::Leave { channel })
        }
        "brane.hash" => {
            let ChannelWire { ch: channel } = from_cbor(bytes)?;
            Ok(ClientMessage::Hash { channel })
        }
        "ping" => {
            let PingWire { nonce } = from_cbor(bytes)?;
            Ok(ClientMessage::Ping { nonce })
        }
        _ => match people::decode_request(op, bytes, limits) {
            Some(request) => request.map(ClientMessage::People),
            None => Err(Fault { code: Code::UnknownOperation, reason: "no such operation" }),
        },
    }
}

const fn too_large(reason: &'static str) -> Fault {
    Fault { code: Code::TooLarge, reason }
}

/// Refuses a long text before serde copies it.
fn check_text(bytes: &[u8], name: &str, max_bytes: usize) -> Result<(), Fault> {
    match fields(bytes, &[name])? {
        [Some(item)] if scan::text(item)?.len() > max_bytes => {
            Err(too_large("a text is larger than its limit"))
        }
        _ => Ok(()),
    }
}

/// Refuses a long list before serde copies it.
fn check_touched(bytes: &[u8], max: usize) -> Result<(), Fault> {
    let [touched] = fields(bytes, &["touched"])?;
    let mut count = 0;
    touched.map_or(Ok(()), |list| {
        scan::items(list, |_| {
            count += 1;
            if count > max { Err(too_large("too many handles in `touched`")) } else { Ok(()) }
        })
    })
}

#[derive(Serialize, Deserialize)]
struct RefreshWire {
    token: String,
}

#[derive(Serialize, Deserialize)]
struct ChannelWire {
    ch: Channel,
}

#[derive(Serialize)]
struct ViewWire {
    ch: Channel,
    #[serde(skip_serializing_if = "Option::is_none")]
    area: Option<AreaWire>,
}

#[derive(Serialize, Deserialize)]
struct PingWire {
    #[serde(with = "whole")]
    nonce: u64,
}

#[derive(Serialize, Deserialize)]
struct JoinWire {
    #[serde(with = "text")]
    brane: BraneId,
    #[serde(with = "text")]
    client: ClientId,
    #[serde(default)]
    known: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    resume_version: Option<PositionWire>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    touched: Option<Vec<Handle>>,
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    area: Option<AreaWire>,
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    resume_view: Option<ScopeWire>,
}

#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct PositionWire(#[serde(with = "position")] Position);

impl From<&Join> for JoinWire {
    fn from(join: &Join) -> Self {
        Self {
            brane: join.brane,
            client: join.client,
            known: join.known,
            resume_version: join.resume.as_ref().map(|resume| PositionWire(resume.version)),
            touched: join.resume.as_ref().and_then(|resume| resume.touched.clone()),
            area: join.area.as_ref().map(AreaWire::from),
            resume_view: join
                .resume
                .as_ref()
                .and_then(|resume| resume.scope.as_ref().map(Into::into)),
        }
    }
}

impl From<JoinWire> for Join {
    fn from(wire: JoinWire) -> Self {
        let JoinWire { brane, client, known, resume_version, touched, .. } = wire;
        let resume = resume_version.map(|at| Resume { version: at.0, touched, scope: None });
        Self { brane, client, known, resume, area: None }
    }
}
