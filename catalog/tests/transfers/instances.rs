//! Instances of prototypes, which are what they follow and what they override.

use avvy_auth::Claims;
use avvy_catalog::What;
use avvy_model::{
    ClientId, Edit, Follow, FollowStep, Followed, Handle, Kind, Object, ObjectId, Operation, Props,
    PrototypeId, Role, Target, TraceId, Transform,
};
use uuid::Uuid;

use crate::start;
use crate::world::{ADA, NOW_S, World, claims, edit, texts};

const CHAIR: PrototypeId = PrototypeId::from_bytes([7; 16]);

fn props(of: &[(&str, &str)]) -> Props {
    let owned = |(key, text): &(&str, &str)| ((*key).to_owned(), (*text).to_owned());
    texts(&of.iter().map(owned).collect::<Vec<_>>())
}

fn version(number: u8) -> Followed {
    let nth = number.to_string();
    let defaults = [
        ("colour", "red"),
        ("description", "Oak"),
        ("legs", &nth),
        ("name", "Chair"),
        ("tags", "a"),
    ];
    let version = PrototypeId::from_bytes([number; 16]);
    Followed { version, number: number.into(), defaults: props(&defaults) }
}

async fn follow(world: &World, step: FollowStep) {
    let owner = Claims { role: Role::Owner, ..claims(ADA) };
    let (client, trace) = (ClientId::new(Uuid::new_v4()), TraceId::new(Uuid::new_v4()));
    let follow = Follow::new(CHAIR, step, Vec::new()).unwrap();
    world.system.follow(world.brane, &owner, client, trace, follow).await.unwrap();
}

/// How many legs a chair of the brane has, how many instances there are, and
/// the chair.
async fn look(world: &World, id: Uuid) -> (Option<String>, u32, Option<Object>) {
    let view = world.system.view(world.brane, &claims(ADA)).await.unwrap();
    let object = world.find(id).await.map(|(_, object)| object);
    let (_, root) = view.world.iter_from(Handle::ROOT).next().unwrap();
    let legs = object.as_ref().map(|object| {
        let all = object.in_effect(&root.props).unwrap();
        format!("{:?}", all.get("legs").unwrap())
    });
    (legs, view.world.instances(CHAIR).unwrap(), object)
}

/// An inventory keeps what an instance is of and what it overrides, and no
/// default: it has those of the version that is followed when it comes back.
#[tokio::test]
async fn an_instance_comes_and_goes_with_what_it_overrides() {
    let long = "b".repeat(5_000);
    let own: [&[(&str, &str)]; 10] = [
        &[],
        &[("colour", "blue")],
        &[("description", "Ash"), ("tags", "b c")],
        // As an object is called that has no name.
        &[("name", "block")],
        &[("name", "Stool")],
        // What no label can be.
        &[("description", ""), ("tags", "")],
        &[("description", "a\tb"), ("tags", "x x")],
        &[("description", &long)],
        &[("name", "  "), ("tags", "a  b")],
        &[("gallery", "seven")],
    ];
    for own in own {
        let world = World::new().await;
        let (catalog, id, chair) = (world.catalog(), Uuid::new_v4(), CHAIR.to_string());
        follow(&world, FollowStep::Adopt(version(1))).await;
        let own = props(&[&[(Object::PROTOTYPE_KEY, &*chair)], own].concat());
        let create = Operation::Create {
            id: ObjectId::new(id),
            parent: Target::Handle(Handle::ROOT),
            kind: Kind::Block,
            transform: Transform::IDENTITY,
            props: own.clone(),
        };
        edit(&world.system, world.brane, &claims(ADA), Edit::One(create)).await;
        let (legs, instances, before) = look(&world, id).await;
        assert_eq!(instances, 1);

        start(&catalog, &world.system, &world, false, Uuid::new_v4(), id).await.unwrap();
        assert_eq!(look(&world, id).await, (None, 0, None));
        let listed = catalog.inventory(ADA, None, None, 9, NOW_S).await.unwrap().things;
        let [kept] = listed.as_slice() else { panic!("{listed:?}") };
        let What::Object(kept) = &kept.thing.what else { panic!("{kept:?}") };
        assert_eq!(kept.props.get(Object::PROTOTYPE_KEY), own.get(Object::PROTOTYPE_KEY));
        assert_eq!(kept.props.get("colour"), own.get("colour"));
        assert_eq!(kept.props.get("legs"), None);

        follow(&world, FollowStep::Update { from: version(1).version, to: version(2) }).await;
        start(&catalog, &world.system, &world, true, Uuid::new_v4(), id).await.unwrap();
        let (legs_now, instances, after) = look(&world, id).await;
        assert_eq!(after, before, "what it has itself is as it was");
        assert_eq!(instances, 1);
        assert_ne!(legs_now, legs, "and the rest is of the version that is followed");
    }
}
