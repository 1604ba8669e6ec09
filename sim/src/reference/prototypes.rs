//! What a brane follows and what instances have, from the words of the
//! protocol alone.

use std::collections::BTreeMap;

use avvy_client::replica::Replica;
use avvy_model::{
    Change, Edit, EditId, Event, FollowStep, Followed, Handle, Object, Props, PrototypeId, Value,
};

use super::Reference;
use super::part::Objects;

const PREFIX: &str = "prototype:";

impl Reference {
    /// What somebody asked of the catalogue under this name: the server says
    /// it for them, as no client can.
    pub(crate) fn asked_to_follow(&self, edit: EditId) -> Option<Edit> {
        self.intents.get(&edit).filter(|edit| matches!(edit, Edit::Follow(_))).cloned()
    }

    /// Whether every instance of a copy has its own properties and the defaults
    /// that the copy's root says, and how many there are.
    pub(crate) fn judge_instances(replica: &Replica) -> Result<u64, String> {
        let Some(root) = replica.get(Handle::ROOT) else { return Err("no root".to_owned()) };
        let mut count = 0;
        for handle in replica.handles() {
            let Some(object) = replica.get(handle) else { continue };
            let Some(defaults) = defaults(&root.props, object) else { continue };
            let mut expected = entries(&defaults);
            expected.extend(entries(&object.props));
            let found = replica.in_effect(handle).unwrap_or_default();
            if entries(&found) != expected {
                return Err(format!("{handle} has {found:?} in effect: {object:?}, {defaults:?}"));
            }
            count += 1;
        }
        Ok(count)
    }
}

/// Whether an event, the outcome of `edit`, may change what is followed as it
/// does, in a world of these objects. Says how it does.
pub(super) fn check(
    event: &Event,
    edit: &Edit,
    objects: &Objects,
) -> Result<Option<&'static str>, String> {
    let named = event.changes.iter().flat_map(|change| match change {
        Change::Updated { handle, after, .. } if *handle == Handle::ROOT => after.entries(),
        _ => &[],
    });
    let named: Vec<_> = named.filter(|(key, _)| key.as_str().starts_with(PREFIX)).collect();
    let (follow, key, value) = match (edit, named.as_slice()) {
        (Edit::Follow(follow), [(key, value)]) => (follow, key.as_str(), value),
        (Edit::Follow(_), _) => return Err(format!("follows by {named:?}")),
        (_, []) => return Ok(None),
        (_, _) => return Err(format!("a client has set {named:?}")),
    };
    let prototype = follow.prototype().to_string();
    if key.strip_prefix(PREFIX) != Some(&*prototype) {
        return Err(format!("{key} for {prototype}"));
    }
    let root = objects.get(&Handle::ROOT).map(|root| &root.props);
    let now = root.and_then(|root| map(root.get(key)));
    let version = now.as_ref().and_then(|now| now.get("version"));
    let fits = |to: &Followed| {
        let said = map(value.clone());
        said.is_some_and(|said| {
            said.get("version") == Some(Value::text(&to.version.to_string()))
                && said.get("number") == Some(Value::int(to.number.into()))
                && map(said.get("defaults")).as_ref() == Some(&to.defaults)
        })
    };
    match follow.step() {
        FollowStep::Adopt(to) if now.is_none() && fits(to) => Ok(Some("prototype adopted")),
        FollowStep::Update { from, to }
            if version == Some(Value::text(&from.to_string())) && fits(to) =>
        {
            Ok(Some("prototype updated"))
        }
        FollowStep::Drop if now.is_some() && value.is_none() && count(objects, &prototype) == 0 => {
            Ok(Some("prototype dropped"))
        }
        step => Err(format!("{step:?} of {prototype} where {now:?} was followed")),
    }
}

/// How many instances of each prototype there are.
pub(super) fn counts(objects: &Objects) -> BTreeMap<PrototypeId, u32> {
    let mut counts = BTreeMap::new();
    for (_, object) in objects.iter().filter(|(handle, _)| **handle != Handle::ROOT) {
        let named = object.props.get("prototype").and_then(|value| text(&value));
        if let Some(prototype) = named.and_then(|text| text.parse().ok()) {
            *counts.entry(prototype).or_default() += 1;
        }
    }
    counts
}

fn count(objects: &Objects, prototype: &str) -> u32 {
    prototype.parse().ok().and_then(|id| counts(objects).get(&id).copied()).unwrap_or(0)
}

fn defaults(root: &Props, object: &Object) -> Option<Props> {
    let prototype = text(&object.props.get("prototype")?)?;
    map(map(root.get(&format!("{PREFIX}{prototype}")))?.get("defaults"))
}

fn entries(props: &Props) -> BTreeMap<String, Vec<u8>> {
    props.iter().map(|(key, value)| (key.to_owned(), value.to_vec())).collect()
}

/// A value that is a map.
fn map(value: Option<Value>) -> Option<Props> {
    Props::from_canonical(value?.as_bytes()).ok()
}

/// The text of an id, whose head says that it is 36 bytes long.
fn text(value: &Value) -> Option<String> {
    let text = value.as_bytes().strip_prefix(&[0x78, 36])?;
    String::from_utf8(text.to_vec()).ok()
}
