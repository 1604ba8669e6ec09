//! Messages about people, written and read in place: poses come in crowds.

use avvy_model::{Code, InvalidValue, Value, ValueLimits};

use super::DecodeLimits;
use super::out::Out;
use super::scan::{self, Fault, boolean, bytes, fields, items, uint};
use crate::{
    Audience, Channel, PeopleChanged, PeopleList, PeopleNews, PeoplePage, PeopleRequest, Person,
    PersonAt, Pose, PoseUpdate, Poses, Signal, SignalSend,
};

/// Bytes of a person's pose among [`Poses`].
const RECORD: usize = 4 + Pose::PACKED_LEN;

const MISSING: Fault = Fault::malformed("the message lacks a field");
const NOT_A_POSE: Fault = Fault::malformed("a pose has 18 bytes");
const NOT_A_ROTATION: Fault =
    Fault { code: Code::OutOfRange, reason: "a rotation is outside its range" };

/// Writes what a client says.
pub(super) fn encode_request(request: &PeopleRequest) -> Vec<u8> {
    match request {
        PeopleRequest::List(list) => encode_list(list),
        PeopleRequest::Pose(update) => encode_pose(update),
        PeopleRequest::Signal(signal) => encode_send(signal),
    }
}

/// Reads what a client says, if it concerns people.
pub(super) fn decode_request(
    op: &str,
    bytes: &[u8],
    limits: &DecodeLimits,
) -> Option<Result<PeopleRequest, Fault>> {
    Some(match op {
        "people.list" => decode_list(bytes).map(PeopleRequest::List),
        "presence.pose" => decode_pose(bytes).map(PeopleRequest::Pose),
        "signal.send" => decode_send(bytes, limits).map(PeopleRequest::Signal),
        _ => return None,
    })
}

/// Writes what the server says.
pub(super) fn encode_news(news: &PeopleNews, now_ms: u64) -> Vec<u8> {
    match news {
        PeopleNews::Page(page) => encode_page(page, now_ms),
        PeopleNews::Changed(changed) => encode_changed(changed, now_ms),
        PeopleNews::Poses(poses) => encode_poses(poses),
        PeopleNews::Signal(signal) => encode_signal(signal),
    }
}

/// Reads what the server says, if it concerns people.
pub(super) fn decode_news(event: &str, bytes: &[u8]) -> Option<Result<PeopleNews, Fault>> {
    Some(match event {
        "people.page" => decode_page(bytes).map(PeopleNews::Page),
        "people.changed" => decode_changed(bytes).map(PeopleNews::Changed),
        "presence.poses" => decode_poses(bytes).map(PeopleNews::Poses),
        "signal" => decode_signal(bytes).map(PeopleNews::Signal),
        _ => return None,
    })
}

fn encode_list(list: &PeopleList) -> Vec<u8> {
    let PeopleList { channel, after, limit } = list;
    let mut out = Out::with_capacity(48);
    out.map(2 + usize::from(after.is_some()) + usize::from(limit.is_some()));
    out.text("ch").uint(u64::from(channel.0)).text("op").text("people.list");
    if let Some(after) = after {
        out.text("after").uint(u64::from(after.0));
    }
    if let Some(limit) = limit {
        out.text("limit").uint(u64::from(*limit));
    }
    out.finish()
}

fn decode_list(message: &[u8]) -> Result<PeopleList, Fault> {
    let [ch, after, limit] = fields(message, &["ch", "after", "limit"])?;
    Ok(PeopleList {
        channel: channel(ch)?,
        after: after.map(person).transpose()?,
        limit: limit.map(word).transpose()?,
    })
}

fn encode_pose(update: &PoseUpdate) -> Vec<u8> {
    let PoseUpdate { channel, pose, state } = update;
    let mut out = Out::with_capacity(96);
    out.map(3 + usize::from(!state.is_empty()));
    out.text("ch").uint(u64::from(channel.0)).text("op").text("presence.pose");
    out.text("pose").bytes(&pose.to_packed());
    if !state.is_empty() {
        out.text("state").bytes(state);
    }
    out.finish()
}

fn decode_pose(message: &[u8]) -> Result<PoseUpdate, Fault> {
    let [ch, pose, state] = fields(message, &["ch", "pose", "state"])?;
    let pose = bytes(pose.ok_or(MISSING)?)?.try_into().map_err(|_| NOT_A_POSE)?;
    let state = state.map(bytes).transpose()?.unwrap_or_default();
    if state.len() > PoseUpdate::MAX_STATE {
        return Err(too_large("a pose's state is larger than 32 bytes"));
    }
    Ok(PoseUpdate {
        channel: channel(ch)?,
        pose: Pose::from_packed(pose).ok_or(NOT_A_ROTATION)?,
        state: state.to_vec(),
    })
}

fn encode_send(signal: &SignalSend) -> Vec<u8> {
    let SignalSend { channel, to, kind, body } = signal;
    let mut out = Out::with_capacity(96);
    out.map(4 + usize::from(body.is_some()));
    out.text("ch").uint(u64::from(channel.0)).text("op").text("signal.send").text("to");
    match to {
        Audience::All => out.text("all"),
        Audience::Near => out.text("near"),
        Audience::One(person) => out.uint(u64::from(person.0)),
    };
    if let Some(body) = body {
        out.text("body").encoded(body.as_bytes());
    }
    out.text("kind").text(kind);
    out.finish()
}

fn decode_send(message: &[u8], limits: &DecodeLimits) -> Result<SignalSend, Fault> {
    let [ch, to, body, kind] = fields(message, &["ch", "to", "body", "kind"])?;
    let kind = scan::text(kind.ok_or(MISSING)?)?;
    if kind.is_empty() {
        return Err(Fault::malformed("a signal is of some kind"));
    }
    if kind.len() > SignalSend::MAX_KIND {
        return Err(too_large("a signal's kind is longer than 32 bytes"));
    }
    let bounds =
        ValueLimits { max_value_bytes: limits.max_signal_body_bytes, ..ValueLimits::default() };
    Ok(SignalSend {
        channel: channel(ch)?,
        to: audience(to.ok_or(MISSING)?)?,
        kind: kind.to_owned(),
        body: body.map(|body| value(body, &bounds)).transpose()?,
    })
}

fn audience(item: &[u8]) -> Result<Audience, Fault> {
    match scan::text(item) {
        Ok("all") => Ok(Audience::All),
        Ok("near") => Ok(Audience::Near),
        Ok(_) => Err(Fault::malformed("a signal goes to `all`, `near` or a person")),
        Err(_) => person(item).map(Audience::One),
    }
}

fn encode_page(page: &PeoplePage, now_ms: u64) -> Vec<u8> {
    let PeoplePage { channel, after, you, at, people, next } = page;
    let mut out = Out::with_capacity(96 + 64 * people.len());
    out.map(6 + usize::from(next.is_some()) + usize::from(after.is_some()));
    out.text("at").uint(*at).text("ch").uint(u64::from(channel.0));
    out.text("you").uint(u64::from(you.0));
    if let Some(next) = next {
        out.text("next").uint(u64::from(next.0));
    }
    if let Some(after) = after {
        out.text("after").uint(u64::from(after.0));
    }
    out.text("event").text("people.page").text("people");
    write_people(people, &mut out);
    out.text("timestamp").uint(now_ms / 1_000);
    out.finish()
}

fn decode_page(message: &[u8]) -> Result<PeoplePage, Fault> {
    let names = ["at", "ch", "you", "next", "after", "people"];
    let [at, ch, you, next, after, people] = fields(message, &names)?;
    Ok(PeoplePage {
        channel: channel(ch)?,
        after: after.map(person).transpose()?,
        you: person(you.ok_or(MISSING)?)?,
        at: uint(at.ok_or(MISSING)?)?,
        people: read_people(people.ok_or(MISSING)?)?,
        next: next.map(person).transpose()?,
    })
}

fn encode_changed(changed: &PeopleChanged, now_ms: u64) -> Vec<u8> {
    let PeopleChanged { channel, from, to, joined, left, reset } = changed;
    let mut out = Out::with_capacity(96 + 64 * joined.len() + 5 * left.len());
    out.map(7 + usize::from(*reset));
    out.text("ch").uint(u64::from(channel.0)).text("to").uint(*to).text("from").uint(*from);
    out.text("left");
    write_numbers(left, &mut out);
    out.text("event").text("people.changed");
    if *reset {
        out.text("reset").bool(true);
    }
    out.text("joined");
    write_people(joined, &mut out);
    out.text("timestamp").uint(now_ms / 1_000);
    out.finish()
}

fn decode_changed(message: &[u8]) -> Result<PeopleChanged, Fault> {
    let names = ["ch", "to", "from", "left", "reset", "joined"];
    let [ch, to, from, left, reset, joined] = fields(message, &names)?;
    Ok(PeopleChanged {
        channel: channel(ch)?,
        from: uint(from.ok_or(MISSING)?)?,
        to: uint(to.ok_or(MISSING)?)?,
        joined: read_people(joined.ok_or(MISSING)?)?,
        left: read_numbers(left.ok_or(MISSING)?)?,
        reset: reset.map_or(Ok(false), boolean)?,
    })
}

fn encode_poses(news: &Poses) -> Vec<u8> {
    let Poses { channel, ms, away, poses, states } = news;
    let state_bytes: usize = states.iter().map(|(_, state)| 8 + state.len()).sum();
    let mut out = Out::with_capacity(96 + RECORD * poses.len() + 5 * away.len() + state_bytes);
    out.map(5 + usize::from(!away.is_empty()) + usize::from(!states.is_empty()));
    out.text("ch").uint(u64::from(channel.0)).text("ms").uint(*ms);
    if !away.is_empty() {
        out.text("away");
        write_numbers(away, &mut out);
    }
    out.text("event").text("presence.poses");
    out.text("poses").bytes_with(RECORD * poses.len(), |out| {
        for (person, pose) in poses {
            out.extend_from_slice(&person.0.to_le_bytes());
            out.extend_from_slice(&pose.to_packed());
        }
    });
    if !states.is_empty() {
        out.text("states").array(states.len());
        for (person, state) in states {
            out.array(2).uint(u64::from(person.0)).bytes(state);
        }
    }
    out.text("timestamp").uint(ms / 1_000);
    out.finish()
}

fn decode_poses(message: &[u8]) -> Result<Poses, Fault> {
    let [ch, ms, away, poses, states] = fields(message, &["ch", "ms", "away", "poses", "states"])?;
    let mut read = Vec::new();
    let mut packed = bytes(poses.ok_or(MISSING)?)?;
    while let Some((number, rest)) = packed.split_first_chunk() {
        let (pose, rest) = rest.split_first_chunk().ok_or(NOT_A_POSE)?;
        let pose = Pose::from_packed(pose).ok_or(NOT_A_ROTATION)?;
        read.push((Person(u32::from_le_bytes(*number)), pose));
        packed = rest;
    }
    if !packed.is_empty() {
        return Err(NOT_A_POSE);
    }
    let mut shown = Vec::new();
    if let Some(states) = states {
        items(states, |item| {
            let mut pair = scan::Items::new(item)?;
            let (Some(number), Some(state), None) =
                (pair.next_item()?, pair.next_item()?, pair.next_item()?)
            else {
                return Err(Fault::malformed("an array of two was expected"));
            };
            shown.push((person(number)?, bytes(state)?.to_vec()));
            Ok(())
        })?;
    }
    Ok(Poses {
        channel: channel(ch)?,
        ms: uint(ms.ok_or(MISSING)?)?,
        away: away.map_or(Ok(Vec::new()), read_numbers)?,
        poses: read,
        states: shown,
    })
}

fn encode_signal(signal: &Signal) -> Vec<u8> {
    let Signal { channel, from, user, kind, body, ms } = signal;
    let mut out = Out::with_capacity(160 + body.as_ref().map_or(0, |body| body.as_bytes().len()));
    out.map(7 + usize::from(body.is_some()));
    out.text("ch").uint(u64::from(channel.0)).text("ms").uint(*ms);
    if let Some(body) = body {
        out.text("body").encoded(body.as_bytes());
    }
    out.text("from").uint(u64::from(from.0)).text("kind").text(kind);
    out.text("user").id(user.uuid());
    out.text("event").text("signal").text("timestamp").uint(ms / 1_000);
    out.finish()
}

fn decode_signal(message: &[u8]) -> Result<Signal, Fault> {
    let names = ["ch", "ms", "body", "from", "kind", "user"];
    let [ch, ms, body, from, kind, user] = fields(message, &names)?;
    Ok(Signal {
        channel: channel(ch)?,
        from: person(from.ok_or(MISSING)?)?,
        user: user_id(user.ok_or(MISSING)?)?,
        kind: scan::text(kind.ok_or(MISSING)?)?.to_owned(),
        body: body.map(|body| value(body, &ValueLimits::NONE)).transpose()?,
        ms: uint(ms.ok_or(MISSING)?)?,
    })
}

fn write_people(people: &[PersonAt], out: &mut Out) {
    out.array(people.len());
    for PersonAt { person, user } in people {
        out.map(2).text("user").id(user.uuid()).text("person").uint(u64::from(person.0));
    }
}

fn read_people(list: &[u8]) -> Result<Vec<PersonAt>, Fault> {
    let mut people = Vec::new();
    items(list, |item| {
        let [user, number] = fields(item, &["user", "person"])?;
        people.push(PersonAt {
            person: person(number.ok_or(MISSING)?)?,
            user: user_id(user.ok_or(MISSING)?)?,
        });
        Ok::<_, Fault>(())
    })?;
    Ok(people)
}

fn write_numbers(people: &[Person], out: &mut Out) {
    out.array(people.len());
    for Person(n) in people {
        out.uint(u64::from(*n));
    }
}

fn read_numbers(list: &[u8]) -> Result<Vec<Person>, Fault> {
    let mut people = Vec::new();
    items(list, |item| {
        people.push(person(item)?);
        Ok::<_, Fault>(())
    })?;
    Ok(people)
}

fn channel(item: Option<&[u8]>) -> Result<Channel, Fault> {
    word(item.ok_or(MISSING)?).map(Channel)
}

fn person(item: &[u8]) -> Result<Person, Fault> {
    word(item).map(Person)
}

fn word(item: &[u8]) -> Result<u32, Fault> {
    u32::try_from(uint(item)?).map_err(|_| Fault::malformed("a number of 32 bits was expected"))
}

fn user_id(item: &[u8]) -> Result<avvy_model::UserId, Fault> {
    scan::text(item)?.parse().map_err(|_| Fault::malformed("`user` is not a UUID"))
}

fn value(item: &[u8], limits: &ValueLimits) -> Result<Value, Fault> {
    Value::parse(item, limits).map_err(|error| match error {
        InvalidValue::TooLarge | InvalidValue::PropsTooLarge => {
            too_large("a signal's body is larger or deeper than its limit")
        }
        InvalidValue::Malformed | InvalidValue::Key => {
            Fault::malformed("a signal's body is not a value")
        }
    })
}

const fn too_large(reason: &'static str) -> Fault {
    Fault { code: Code::TooLarge, reason }
}
