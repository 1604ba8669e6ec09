//! Examples of things outside of branes.

use avvy_model::{
    AssetHash, BraneId, Kind, ObjectId, PropKey, Props, PrototypeId, UserId, Value, ValueLimits,
    Visibility,
};
use avvy_protocol::rest::{
    CreateObject, CreatePrototype, Deprecate, FollowedBody, InstanceBody, MovedBody, OfferBody,
    OffersBody, OwnObjectBody, PatchMe, PatchObject, PatchPrototype, PlaceObject, PlacePrototype,
    PrototypeBody, Publish, PutIntoGallery, TakeObject, ThingBody, ThingPage, UpdateInstances,
    UsageBody, UserBody, VersionBody,
};
use serde_json::Value as Json;
use uuid::Uuid;

use super::{AT_S, BRANE, OBJECT, USER, json};

const PROTOTYPE: PrototypeId =
    PrototypeId::new(Uuid::from_u128(0x2c5e8a17_904b_4f3d_b6a1_7d8e9f0a1b2c));
const NEXT: Uuid = Uuid::from_u128(0x7b1f3e5d_2a4c_4b6e_9d8f_0c1e2d3f4a5b);
const TOP: [f64; 16] =
    [1.0, 0.0, 0.0, 0.5, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 2.0, 0.0, 0.0, 0.0, 1.0];

/// The example of a schema, by its name.
pub(super) fn of(schema: &str) -> Option<Json> {
    let (name, description) = ("Oak table".to_owned(), "For six.".to_owned());
    let (brane, tags): (BraneId, _) = (BRANE, vec!["wood".to_owned()]);
    let owner: UserId = USER;
    Some(match schema {
        "OwnObjectBody" => json(&OwnObjectBody {
            id: OBJECT,
            kind: Kind::Group,
            owner,
            name,
            description,
            tags,
            visibility: Visibility::Private,
            version: 2,
            previous_id: Some(ObjectId::new(NEXT)),
            next_id: None,
            parent_id: None,
            child_ids: vec![ObjectId::new(NEXT)],
            gallery_ids: vec![PROTOTYPE],
            transform: TOP,
            props: lit(),
            created: AT_S,
            timestamp: AT_S,
        }),
        "CreateObject" => json(&CreateObject {
            kind: Kind::Block,
            name,
            description,
            tags,
            transform: Some(TOP),
            props: lit(),
            child_ids: Vec::new(),
            gallery_ids: Vec::new(),
        }),
        "PatchObject" => json(&PatchObject {
            name: Some(name),
            child_ids: Some(vec![ObjectId::new(NEXT)]),
            ..PatchObject::default()
        }),
        "Publish" => json(&Publish { visibility: Visibility::Unlisted }),
        "PutIntoGallery" => json(&PutIntoGallery { prototype: PROTOTYPE, at: Some(0) }),
        "PlaceObject" => json(&PlaceObject { brane, parent: None, transform: Some(TOP) }),
        "TakeObject" => json(&TakeObject { brane, object: OBJECT }),
        "MovedBody" => json(&MovedBody { brane, objects: vec![OBJECT] }),
        "ThingPage" => json(&ThingPage {
            things: vec![ThingBody {
                kind: "prototype".to_owned(),
                id: ObjectId::new(PROTOTYPE.uuid()),
                owner,
                name,
                description,
                tags,
                visibility: Visibility::Public,
                version: Some(1),
                timestamp: AT_S,
            }],
            next: None,
        }),
        "UserBody" => {
            let (name, about) = ("Ada".to_owned(), "Builds tables.".to_owned());
            json(&UserBody { id: owner, name, about, created: AT_S })
        }
        "PatchMe" => json(&PatchMe { name: Some("Ada".to_owned()), about: None }),
        "UsageBody" => json(&UsageBody {
            objects: 12,
            max_objects: 10_000,
            prototypes: 3,
            max_prototypes: 2_000,
            drafts: 1,
            max_drafts: 200,
            bytes: 9_310,
            max_bytes: 67_108_864,
        }),
        _ => return of_prototypes(schema),
    })
}

fn of_prototypes(schema: &str) -> Option<Json> {
    let (name, description) = ("Lamp".to_owned(), "Glows.".to_owned());
    let (brane, tags, models) = (BRANE, vec!["light".to_owned()], vec![AssetHash([0x5a; 32])]);
    Some(match schema {
        "PrototypeBody" => json(&PrototypeBody {
            id: PROTOTYPE,
            owner: USER,
            name,
            description,
            tags,
            visibility: Visibility::Public,
            is_public: true,
            is_deprecated: false,
            is_deleted: false,
            version: 1,
            previous_id: None,
            next_id: Some(PrototypeId::new(NEXT)),
            defaults: lit(),
            handler_ids: Vec::new(),
            models,
            created: AT_S,
            timestamp: AT_S,
        }),
        "CreatePrototype" => json(&CreatePrototype {
            name,
            description,
            tags,
            defaults: lit(),
            handler_ids: Vec::new(),
            models,
        }),
        "PatchPrototype" => {
            json(&PatchPrototype { defaults: Some(lit()), ..PatchPrototype::default() })
        }
        "Deprecate" => json(&Deprecate { is_deprecated: true }),
        "PlacePrototype" => json(&PlacePrototype {
            brane,
            parent: None,
            transform: Some(TOP),
            props: Props::default(),
        }),
        "InstanceBody" => json(&InstanceBody { brane, id: OBJECT, prototype: PROTOTYPE }),
        "UpdateInstances" => json(&UpdateInstances { brane }),
        "FollowedBody" => json(&FollowedBody {
            prototype: PROTOTYPE,
            version_id: PrototypeId::new(NEXT),
            version: 2,
            instances: 40,
        }),
        "OffersBody" => json(&OffersBody {
            prototypes: vec![OfferBody {
                prototype: PROTOTYPE,
                version_id: PROTOTYPE,
                version: 1,
                instances: 40,
                latest: Some(VersionBody { id: PrototypeId::new(NEXT), version: 2 }),
            }],
        }),
        _ => return None,
    })
}

/// One property.
fn lit() -> Props {
    let limits = ValueLimits::default();
    let key = PropKey::new("lit", &limits);
    let entries = key.map(|key| vec![(key, Value::bool(true))]).unwrap_or_default();
    Props::from_entries(entries, &limits).unwrap_or_default()
}
