//! Server messages.

use avvy_model::{Code, Counter, Epoch, Handle, Position, Scope, Seq};
use ciborium::Value;
use serde::{Deserialize, Serialize};

use super::area::{ScopeWire, write_area_flush};
use super::edit::handle;
use super::envelope::{from_cbor, to_envelope};
use super::log::{read_update, write_flush};
use super::out::Out;
use super::rights::OwnRightsWire;
use super::scan::{Envelope, Fault, Items, boolean, envelope, fields, items, uint};
use super::world::{read_handles, read_object, write_object};
use super::{DecodeError, bytes16, code, people, position, whole};
use crate::rest::ErrorMessageResponse;
use crate::{Channel, RefusedEdit, ServerMessage, SnapshotPart, ViewPart};

/// Writes one message of the server. `now_ms` is the server's Unix time in
/// milliseconds, for the envelope's `timestamp`; messages that carry a time of
/// their own use that.
pub fn encode_server(message: &ServerMessage, now_ms: u64) -> Vec<u8> {
    let event = |name: &'static str, ms: u64| {
        vec![("event", Value::from(name)), ("timestamp", Value::from(ms / 1_000))]
    };
    use ServerMessage as M;
    match message {
        M::Welcome(welcome) => to_envelope(welcome, event("welcome", welcome.ms)),
        M::Refreshed { expires } => {
            to_envelope(&ExpiresWire { expires: *expires }, event("auth.refreshed", now_ms))
        }
        M::Expiring { expires } => {
            to_envelope(&ExpiresWire { expires: *expires }, event("auth.expiring", now_ms))
        }
        M::Joined(joined) => to_envelope(joined, event("brane.joined", now_ms)),
        M::Left { channel, code, address } => {
            let code = code.map(CodeWire);
            let wire = LeftWire { ch: *channel, code, address: address.clone() };
            to_envelope(&wire, event("brane.left", now_ms))
        }
        M::Snapshot(part) => encode_snapshot(part, now_ms),
        M::View(part) => encode_view(part, now_ms),
        M::Flush(flush) => write_flush(flush),
        M::AreaFlush(flush) => write_area_flush(flush),
        M::VersionComplete { channel, version } => {
            let wire = VersionWire { ch: *channel, version: *version };
            to_envelope(&wire, event("version_complete", now_ms))
        }
        M::Rewind { channel, to } => {
            to_envelope(&RewindWire { ch: *channel, to: *to }, event("rewind", now_ms))
        }
        M::Level { channel, level, reason } => {
            let wire = LevelWire { ch: *channel, level: *level, reason: *reason };
            to_envelope(&wire, event("brane.level", now_ms))
        }
        M::Applied { channel, edits } => encode_applied(*channel, edits, now_ms),
        M::Refused { channel, edits } => {
            let wire = RefusedWire { ch: *channel, edits: edits.clone() };
            to_envelope(&wire, event("object.refused", now_ms))
        }
        M::Durable { channel, durable } => encode_durable(*channel, *durable, now_ms),
        M::Hash { channel, at, hash } => {
            let wire = HashWire { ch: *channel, at: *at, hash: *hash };
            to_envelope(&wire, event("brane.hash", now_ms))
        }
        M::Rights(own) => to_envelope(&OwnRightsWire::from(&**own), event("brane.rights", now_ms)),
        M::Changed(changed) => to_envelope(&**changed, event("brane.changed", now_ms)),
        M::People(news) => people::encode_news(news, now_ms),
        M::Pong { nonce, ms } => {
            to_envelope(&PongWire { nonce: *nonce, ms: *ms }, event("pong", *ms))
        }
        M::Error(error) => {
            let wire = ErrorMessageResponse::new(error, now_ms);
            to_envelope(&wire, vec![("event", Value::from("error"))])
        }
    }
}

/// Reads one message of the server.
///
/// # Errors
/// [`DecodeError`] with `malformed`, or `unknown_operation` for an event that
/// this version does not know; a client should ignore those.
pub fn decode_server(bytes: &[u8]) -> Result<ServerMessage, DecodeError> {
    let Envelope { name, channel, .. } = envelope(bytes, "event")?;
    let at = |fault| DecodeError::at(fault, name, channel);
    let name = name.ok_or_else(|| at(Fault::malformed("the message has no `event`")))?;
    decode_event(name, bytes).map_err(at)
}

fn decode_event(name: &str, bytes: &[u8]) -> Result<ServerMessage, Fault> {
    use ServerMessage as M;
    Ok(match name {
        "entity.update" => read_update(bytes)?,
        "object.applied" => decode_applied(bytes)?,
        "brane.durable" => decode_durable(bytes)?,
        "brane.snapshot" => M::Snapshot(decode_snapshot(bytes)?),
        "brane.view" => M::View(decode_view(bytes)?),
        "welcome" => M::Welcome(from_cbor(bytes)?),
        "brane.joined" => M::Joined(from_cbor(bytes)?),
        "auth.refreshed" => {
            let ExpiresWire { expires } = from_cbor(bytes)?;
            M::Refreshed { expires }
        }
        "auth.expiring" => {
            let ExpiresWire { expires } = from_cbor(bytes)?;
            M::Expiring { expires }
        }
        "brane.left" => {
            let LeftWire { ch: channel, code, address } = from_cbor(bytes)?;
            M::Left { channel, code: code.map(|code| code.0), address }
        }
        "version_complete" => {
            let VersionWire { ch: channel, version } = from_cbor(bytes)?;
            M::VersionComplete { channel, version }
        }
        "rewind" => {
            let RewindWire { ch: channel, to } = from_cbor(bytes)?;
            M::Rewind { channel, to }
        }
        "brane.level" => {
            let LevelWire { ch: channel, level, reason } = from_cbor(bytes)?;
            M::Level { channel, level, reason }
        }
        "object.refused" => {
            let RefusedWire { ch: channel, edits } = from_cbor(bytes)?;
            M::Refused { channel, edits }
        }
        "brane.hash" => {
            let HashWire { ch: channel, at, hash } = from_cbor(bytes)?;
            M::Hash { channel, at, hash }
        }
        "brane.rights" => {
            let wire: OwnRightsWire = from_cbor(bytes)?;
            M::Rights(Box::new(wire.own()?))
        }
        "brane.changed" => M::Changed(Box::new(from_cbor(bytes)?)),
        "pong" => {
            let PongWire { nonce, ms } = from_cbor(bytes)?;
            M::Pong { nonce, ms }
        }
        "error" => {
            let wire: ErrorMessageResponse = from_cbor(bytes)?;
            M::Error(wire.into())
        }
        _ => match people::decode_news(name, bytes) {
            Some(news) => M::People(news?),
            None => {
                return Err(Fault { code: Code::UnknownOperation, reason: "no such event" });
            }
        },
    })
}

const MISSING: Fault = Fault::malformed("the message lacks a field");

fn encode_snapshot(part: &SnapshotPart, now_ms: u64) -> Vec<u8> {
    encode_part(part, None, now_ms)
}

fn encode_view(part: &ViewPart, now_ms: u64) -> Vec<u8> {
    encode_part(&part.part, Some(&part.scope), now_ms)
}

fn encode_part(part: &SnapshotPart, scope: Option<&Scope>, now_ms: u64) -> Vec<u8> {
    let SnapshotPart { channel, at, index, last, objects, gone } = part;
    let props: usize = objects.iter().map(|o| o.object.props.as_bytes().len()).sum();
    let mut out = Out::with_capacity(160 + 192 * objects.len() + props + 5 * gone.len());
    out.map(7 + usize::from(!gone.is_empty()) + usize::from(scope.is_some())).text("at");
    write_position(*at, &mut out);
    out.text("ch").uint(u64::from(channel.0));
    if !gone.is_empty() {
        out.text("gone").array(gone.len());
        gone.iter().for_each(|Handle(n)| {
            out.uint(u64::from(*n));
        });
    }
    out.text("last").bool(*last);
    if let Some(scope) = scope {
        out.text("view");
        write_scope(scope, &mut out);
    }
    let event = if scope.is_some() { "brane.view" } else { "brane.snapshot" };
    out.text("event").text(event);
    out.text("index").uint(u64::from(*index)).text("objects").array(objects.len());
    objects.iter().for_each(|object| write_object(object, &mut out));
    out.text("timestamp").uint(now_ms / 1_000);
    out.finish()
}

fn decode_snapshot(bytes: &[u8]) -> Result<SnapshotPart, Fault> {
    let names = ["at", "ch", "gone", "last", "index", "objects"];
    let [at, ch, gone, last, index, list] = fields(bytes, &names)?;
    let mut objects = Vec::new();
    items(list.ok_or(MISSING)?, |item| {
        objects.push(read_object(item)?);
        Ok::<_, Fault>(())
    })?;
    Ok(SnapshotPart {
        channel: channel(ch)?,
        at: read_position(at.ok_or(MISSING)?)?,
        index: handle(index.ok_or(MISSING)?)?.0,
        last: boolean(last.ok_or(MISSING)?)?,
        objects,
        gone: gone.map_or(Ok(Vec::new()), read_handles)?,
    })
}

fn decode_view(bytes: &[u8]) -> Result<ViewPart, Fault> {
    let [view] = fields(bytes, &["view"])?;
    let wire: ScopeWire = from_cbor(view.ok_or(MISSING)?)?;
    let scope = wire.scope().ok_or(Fault::malformed("not a view"))?;
    Ok(ViewPart { scope, part: decode_snapshot(bytes)? })
}

fn encode_applied(channel: Channel, edits: &[(Counter, Seq)], now_ms: u64) -> Vec<u8> {
    let mut out = Out::with_capacity(64 + 19 * edits.len());
    out.map(4).text("ch").uint(u64::from(channel.0)).text("edits").array(edits.len());
    for (counter, seq) in edits {
        out.array(2).uint(counter.0).uint(seq.0);
    }
    out.text("event").text("object.applied").text("timestamp").uint(now_ms / 1_000);
    out.finish()
}

fn decode_applied(bytes: &[u8]) -> Result<ServerMessage, Fault> {
    let [ch, list] = fields(bytes, &["ch", "edits"])?;
    let mut edits = Vec::new();
    items(list.ok_or(MISSING)?, |item| {
        let (counter, seq) = pair(item)?;
        edits.push((Counter(counter), Seq(seq)));
        Ok::<_, Fault>(())
    })?;
    Ok(ServerMessage::Applied { channel: channel(ch)?, edits })
}

fn encode_durable(channel: Channel, durable: Position, now_ms: u64) -> Vec<u8> {
    let mut out = Out::with_capacity(64);
    out.map(4).text("ch").uint(u64::from(channel.0)).text("event").text("brane.durable");
    out.text("durable");
    write_position(durable, &mut out);
    out.text("timestamp").uint(now_ms / 1_000);
    out.finish()
}

fn decode_durable(bytes: &[u8]) -> Result<ServerMessage, Fault> {
    let [ch, durable] = fields(bytes, &["ch", "durable"])?;
    let durable = read_position(durable.ok_or(MISSING)?)?;
    Ok(ServerMessage::Durable { channel: channel(ch)?, durable })
}

fn channel(item: Option<&[u8]>) -> Result<Channel, Fault> {
    let n = u32::try_from(uint(item.ok_or(MISSING)?)?);
    n.map(Channel).map_err(|_| Fault::malformed("a channel has 32 bits"))
}

fn write_scope(scope: &Scope, out: &mut Out) {
    out.array(5);
    for n in scope.view.center.0 {
        out.int(i64::from(n));
    }
    out.uint(u64::from(scope.view.reach)).uint(u64::from(scope.grid.size()));
}

fn write_position(at: Position, out: &mut Out) {
    out.array(2).uint(at.epoch.0).uint(at.seq.0);
}

fn read_position(item: &[u8]) -> Result<Position, Fault> {
    let (epoch, seq) = pair(item)?;
    Ok(Position { epoch: Epoch(epoch), seq: Seq(seq) })
}

fn pair(item: &[u8]) -> Result<(u64, u64), Fault> {
    let mut items = Items::new(item)?;
    match (items.next_item()?, items.next_item()?, items.next_item()?) {
        (Some(a), Some(b), None) => Ok((uint(a)?, uint(b)?)),
        _ => Err(Fault::malformed("an array of two was expected")),
    }
}

#[derive(Serialize, Deserialize)]
struct ExpiresWire {
    #[serde(with = "whole")]
    expires: u64,
}

#[derive(Serialize, Deserialize)]
struct LeftWire {
    ch: Channel,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    code: Option<CodeWire>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    address: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct CodeWire(#[serde(with = "code")] Code);

#[derive(Serialize, Deserialize)]
struct VersionWire {
    ch: Channel,
    #[serde(with = "position")]
    version: Position,
}

#[derive(Serialize, Deserialize)]
struct RewindWire {
    ch: Channel,
    #[serde(with = "position")]
    to: Position,
}

#[derive(Serialize, Deserialize)]
struct LevelWire {
    ch: Channel,
    level: crate::Level,
    reason: crate::LevelReason,
}

#[derive(Serialize, Deserialize)]
struct RefusedWire {
    ch: Channel,
    edits: Vec<RefusedEdit>,
}

#[derive(Serialize, Deserialize)]
struct HashWire {
    ch: Channel,
    #[serde(with = "position")]
    at: Position,
    #[serde(with = "bytes16")]
    hash: [u8; 16],
}

#[derive(Serialize, Deserialize)]
struct PongWire {
    #[serde(with = "whole")]
    nonce: u64,
    #[serde(with = "whole")]
    ms: u64,
}
