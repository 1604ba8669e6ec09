//! There is a vector of everything that can be said: a new kind of message, of
//! edit or of change does not compile here before it is named, and then fails
//! until there is a sample.

use std::collections::BTreeSet;

use avvy_model::{DeleteMode, Edit, Operation, Ruling};
use avvy_protocol::*;

use super::{client, server};

/// The variants of an enum that may occur, by name, and which of them a value
/// is.
macro_rules! variants {
    ($name:ident, $all:ident, $type:ident: $($variant:ident)+) => {
        const $all: &[&str] = &[$(concat!(stringify!($type), "::", stringify!($variant))),+];

        fn $name(value: &$type) -> &'static str {
            match value {
                $($type::$variant { .. } => concat!(stringify!($type), "::", stringify!($variant)),)+
            }
        }
    };
}

variants!(said, SAID, ClientMessage: Hello Refresh Join Leave View Update Hash People Ping);
variants!(request, REQUESTS, PeopleRequest: List Pose Signal);
variants!(edit, EDITS, Edit: One Batch Rule Follow);
variants!(operation, OPERATIONS, Operation: Create Update Move Reparent Delete);
variants!(deletion, DELETIONS, DeleteMode: Subtree KeepChildren);
variants!(ruling, RULINGS, Ruling: Everybody Role Appoint Ban Mute Grant Revoke);
variants!(told, TOLD, ServerMessage: Welcome Refreshed Expiring Joined Left Snapshot View Flush
    AreaFlush VersionComplete Rewind Level Applied Refused Durable Hash Rights Changed People Pong
    Error);
variants!(news, NEWS, PeopleNews: Page Changed Poses Signal);
variants!(item, ITEMS, FlushItem: Moves Event Skip);
variants!(change, CHANGES, WireChange: Created Updated Moved Reparented Deleted);

#[test]
fn every_message_of_a_client_has_a_vector() {
    let mut found = BTreeSet::new();
    for (_, message) in client::messages() {
        found.insert(said(&message));
        match &message {
            ClientMessage::People(people) => drop(found.insert(request(people))),
            ClientMessage::Update(update) => {
                update.edits.iter().for_each(|numbered| note_edit(&numbered.edit, &mut found));
            }
            _ => {}
        }
    }
    // It is the server's own, and a batch like any other on the wire.
    found.insert("Edit::Follow");
    assert_all([SAID, REQUESTS, EDITS, OPERATIONS, DELETIONS, RULINGS].concat(), &found);
}

#[test]
fn every_message_of_the_server_has_a_vector() {
    let mut found = BTreeSet::new();
    for (_, message) in server::messages() {
        found.insert(told(&message));
        match &message {
            ServerMessage::People(people) => drop(found.insert(news(people))),
            ServerMessage::Flush(flush) => note_items(&flush.items, &mut found),
            ServerMessage::AreaFlush(flush) => {
                flush.cells.iter().for_each(|items| note_items(items, &mut found));
            }
            _ => {}
        }
    }
    assert_all([TOLD, NEWS, ITEMS, CHANGES].concat(), &found);
}

fn note_edit(of: &Edit, found: &mut BTreeSet<&'static str>) {
    found.insert(edit(of));
    if let Edit::Rule(rule) = of {
        found.insert(ruling(rule));
    }
    for of in of.operations() {
        found.insert(operation(of));
        if let Operation::Delete { mode, .. } = of {
            found.insert(deletion(mode));
        }
    }
}

fn note_items(items: &[FlushItem], found: &mut BTreeSet<&'static str>) {
    for of in items {
        found.insert(item(of));
        if let FlushItem::Event(event) = of {
            found.extend(event.changes.iter().map(change));
        }
    }
}

fn assert_all(expected: Vec<&str>, found: &BTreeSet<&str>) {
    let missing: Vec<_> = expected.iter().filter(|name| !found.contains(*name)).collect();
    assert!(missing.is_empty(), "no vector of {missing:?}");
}
