//! Examples of portals and copies.

use avvy_model::{Handle, ObjectId, Props};
use avvy_protocol::rest::{
    CreatePortal, DuplicateBrane, NewPortalBody, PortalBody, PortalEnd, PortalPage, WayBody,
};
use serde_json::Value as Json;
use uuid::Uuid;

use super::{BRANE, OBJECT, json};

const EXIT: ObjectId = ObjectId::new(Uuid::from_u128(0x3d7a9c1e_5f20_4b8d_a6c4_8e1f2a3b4c5d));
const GATE: [f64; 16] =
    [1.0, 0.0, 0.0, 4.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0];

/// The example of a schema, by its name.
pub(super) fn of(schema: &str) -> Option<Json> {
    let (to, exit) = (BRANE, Some(EXIT));
    let transform = Some(GATE);
    let end = || PortalEnd { brane: BRANE, parent: None, transform, props: Props::default() };
    Some(match schema {
        "PortalPage" => json(&PortalPage {
            portals: vec![PortalBody { handle: Handle(1), id: OBJECT, to, exit, transform }],
            next: None,
        }),
        "WayBody" => json(&WayBody {
            state: "open".to_owned(),
            brane: BRANE,
            exit,
            transform,
            way: Some("two".to_owned()),
            node: None,
        }),
        "CreatePortal" => json(&CreatePortal {
            parent: None,
            transform,
            props: Props::default(),
            to: end(),
            two_way: true,
        }),
        "PortalEnd" => json(&end()),
        "DuplicateBrane" => json(&DuplicateBrane {
            name: Some("Workshop, second".to_owned()),
            ..DuplicateBrane::default()
        }),
        "NewPortalBody" => json(&NewPortalBody { id: OBJECT, to, exit }),
        _ => return None,
    })
}
