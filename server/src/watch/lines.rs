//! What a line says: see `avvyland watch --help`.

use std::collections::BTreeMap;
use std::fmt;

use avvy_client::net::{Ended, WorldChange};
use avvy_model::{Object, Parts, Position, Transform, UserId};
use avvy_protocol::close::CloseCode;
use avvy_protocol::rest::{GrantBody, RightsBody, SanctionBody, verb_names};
use avvy_protocol::{
    BraneChanged, Flush, FlushItem, MoveRecord, OwnRights, PeopleChanged, PeopleNews, PeoplePage,
    Person, Signal, WireChange, json as protocol_json,
};
use serde::Serialize;
use serde_json::{Value as Json, json};

use crate::output::Escaped;

/// One thing that happened.
#[derive(Serialize)]
pub(super) struct Line {
    event: &'static str,
    /// An object.
    #[serde(flatten)]
    more: Json,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let json = serde_json::to_string(self).map_err(|_| fmt::Error)?;
        Escaped(&json).fmt(f)
    }
}

fn line(event: &'static str, more: Json) -> Line {
    Line { event, more }
}

/// Makes lines. Knows who is there, as the news of who leaves has a number only.
#[derive(Default)]
pub(super) struct Lines {
    people: BTreeMap<Person, UserId>,
}

impl Lines {
    /// The lines of a change.
    pub(super) fn of(&mut self, change: &WorldChange) -> Vec<Line> {
        match change {
            WorldChange::Flushed(flush) => of_flush(flush),
            WorldChange::People(news) => self.of_people(news),
            WorldChange::Rights(own) => vec![line("rights", of_rights(own))],
            WorldChange::Changed(changed) => vec![line("changed", of_changed(changed))],
            WorldChange::Level { level, reason } => {
                vec![line("level", json!({"level": level.name(), "reason": reason.name()}))]
            }
            WorldChange::Live { at, resynced } => {
                vec![line("live", json!({"at": of_position(*at), "resynced": resynced}))]
            }
            WorldChange::Rewound { to } => vec![line("rewound", json!({"at": of_position(*to)}))],
            WorldChange::Down(ended) => vec![line("down", of_end(ended))],
            WorldChange::Closed { code } => {
                vec![line("closed", json!({"code": code.map(|code| code.name())}))]
            }
            // Of an area, or by TLS: there is neither.
            WorldChange::AreaFlushed(_)
            | WorldChange::Viewed { .. }
            | WorldChange::Downgrade { .. } => Vec::new(),
        }
    }

    fn of_people(&mut self, news: &PeopleNews) -> Vec<Line> {
        match news {
            PeopleNews::Page(page) => self.of_page(page),
            PeopleNews::Changed(changed) => self.of_comings(changed),
            PeopleNews::Signal(signal) => vec![line("signal", of_signal(signal))],
            PeopleNews::Poses(_) => Vec::new(),
        }
    }

    fn of_page(&mut self, page: &PeoplePage) -> Vec<Line> {
        if page.after.is_none() {
            self.people.clear();
        }
        self.people.extend(page.people.iter().map(|one| (one.person, one.user)));
        let here = page.people.iter();
        here.map(|one| line("here", of_person(one.person, one.user))).collect()
    }

    /// Those of before the list are in it.
    fn of_comings(&mut self, changed: &PeopleChanged) -> Vec<Line> {
        let mut lines = Vec::new();
        for one in &changed.joined {
            if self.people.insert(one.person, one.user).is_none() {
                lines.push(line("came", of_person(one.person, one.user)));
            }
        }
        for person in &changed.left {
            if let Some(user) = self.people.remove(person) {
                lines.push(line("left", of_person(*person, user)));
            }
        }
        lines
    }
}

fn of_flush(flush: &Flush) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut seq = flush.from.0;
    for item in &flush.items {
        match item {
            FlushItem::Moves(moves) => {
                for record in moves {
                    seq += 1;
                    lines.push(line("moved", with(of_move(record), json!({"seq": seq}))));
                }
            }
            FlushItem::Event(event) => {
                seq += 1;
                let about = json!({"seq": seq, "by": event.by.to_string()});
                let told = event.changes.iter().map(of_change);
                lines.extend(told.map(|(event, more)| line(event, with(more, about.clone()))));
            }
            FlushItem::Skip(edits) => {
                seq += edits;
                lines.push(line("skipped", json!({"seq": seq, "edits": edits})));
            }
        }
    }
    lines
}

fn of_change(change: &WireChange) -> (&'static str, Json) {
    match change {
        WireChange::Created(new) => {
            ("created", with(of_object(&new.object), json!({"handle": new.handle.0})))
        }
        WireChange::Updated { handle, patch } => {
            let value = |value: &Option<_>| value.as_ref().map(protocol_json::of_value);
            let props =
                patch.entries().iter().map(|(key, of)| (key.as_str().to_owned(), value(of)));
            let props: BTreeMap<String, Option<Json>> = props.collect();
            ("updated", json!({"handle": handle.0, "props": props}))
        }
        WireChange::Moved(record) => ("moved", of_move(record)),
        WireChange::Reparented { handle, to } => {
            let transform = to.transform.to_matrix();
            let more = json!({"handle": handle.0, "parent": to.parent.0, "transform": transform});
            ("reparented", more)
        }
        WireChange::Deleted { handles } => {
            let handles: Vec<u32> = handles.iter().map(|handle| handle.0).collect();
            ("deleted", json!({"handles": handles}))
        }
    }
}

fn of_object(object: &Object) -> Json {
    json!({
        "id": object.id.to_string(),
        "parent": object.parent.0,
        "kind": object.kind.name(),
        "owner": object.owner.to_string(),
        "transform": object.transform.to_matrix(),
        "props": protocol_json::of_props(&object.props),
    })
}

/// The parts that were set.
fn of_move(record: &MoveRecord) -> Json {
    let to = record.patch.apply(&Transform::default());
    let set = |part| record.patch.parts().has(part);
    let mut more = json!({"handle": record.handle.0});
    if set(Parts::POSITION) {
        more["position"] = json!(to.position_m());
    }
    if set(Parts::ROTATION) {
        more["rotation"] = json!(to.rotation.to_quaternion());
    }
    if set(Parts::SCALE) {
        more["scale"] = json!(to.scale());
    }
    more
}

fn of_rights(own: &OwnRights) -> Json {
    protocol_json::of_body(&RightsBody {
        role: own.role.to_string(),
        verbs: verb_names(own.verbs),
        grants: own.grants.iter().map(GrantBody::from).collect(),
        mute: own.mute.map(SanctionBody::from),
        table: None,
    })
}

fn of_changed(changed: &BraneChanged) -> Json {
    let mut more = protocol_json::of_body(changed);
    // A number of the connection's.
    if let Some(fields) = more.as_object_mut() {
        fields.remove("ch");
    }
    more
}

fn of_person(person: Person, user: UserId) -> Json {
    json!({"person": person.0, "user": user.to_string()})
}

fn of_signal(signal: &Signal) -> Json {
    json!({
        "from": signal.from.0,
        "user": signal.user.to_string(),
        "kind": signal.kind,
        "body": signal.body.as_ref().map(protocol_json::of_value),
    })
}

fn of_end(ended: &Ended) -> Json {
    let name = ended.code.and_then(CloseCode::from_number).map(CloseCode::name);
    json!({"code": ended.code, "name": name, "reason": ended.reason})
}

/// As everywhere in bodies.
fn of_position(at: Position) -> Json {
    json!([at.epoch.0, at.seq.0])
}

/// Both objects in one.
fn with(mut more: Json, about: Json) -> Json {
    if let (Some(fields), Json::Object(about)) = (more.as_object_mut(), about) {
        fields.extend(about);
    }
    more
}

#[cfg(test)]
mod tests {
    use avvy_model::Visibility;
    use avvy_protocol::Channel;

    use super::*;

    #[test]
    fn what_a_server_says_steers_no_terminal() {
        let name = "\u{1b}]0;mine\u{7}\u{9b}2J\u{7f}\u{202e}Hall".to_owned();
        let changed = BraneChanged {
            channel: Channel(1),
            description: "two\nlines".to_owned(),
            tags: vec!["\u{9d}".to_owned()],
            kind: "public".to_owned(),
            visibility: Visibility::Public,
            version: 2,
            name: name.clone(),
        };
        let lines = Lines::default().of(&WorldChange::Changed(Box::new(changed)));
        let line: String = lines.iter().map(Line::to_string).collect();
        assert!(line.chars().all(|c| c.is_ascii_graphic() || c == ' '), "{line}");
        let read: Json = serde_json::from_str(&line).unwrap_or_default();
        assert_eq!(read["name"], name, "it means the same");
    }
}
