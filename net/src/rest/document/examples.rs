//! An example of each body, made of the very types that routes read and write.

mod things;

use avvy_model::{
    BraneId, Code, Counter, Epoch, Handle, Kind, ObjectId, Position, Props, Refusal, Seq, TraceId,
    UserId, Visibility,
};
use avvy_protocol::json;
use avvy_protocol::rest::{
    BraneBody, BranePage, CreateBrane, EditOutcome, EditResult, ErrorMessageResponse, Format,
    HealthBody, ObjectBody, ObjectPage, RevokeTokens, RevokedBody, SubmitResponse, encode,
};
use serde::Serialize;
use serde_json::{Value as Json, json};
use uuid::Uuid;

const BRANE: BraneId = BraneId::new(Uuid::from_u128(0x5f1d2c6a_3b7e_4c1d_9a52_1e0f6d7c8b90));
const OBJECT: ObjectId = ObjectId::new(Uuid::from_u128(0x0b9d8e7f_6a5c_4d3e_8f1a_2b3c4d5e6f70));
const USER: UserId = UserId::new(Uuid::from_u128(0x64657665_6c6f_4000_8000_706572000001));
const TRACE: TraceId = TraceId::new(Uuid::from_u128(0x0af76519_16cd_43dd_8448_eb211c80319c));
const AT_S: u64 = 1_795_487_000;

/// The example of a schema, by its name.
pub(super) fn of(schema: &str) -> Option<Json> {
    Some(match schema {
        "BraneBody" => json(&brane()),
        "BranePage" => json(&BranePage { branes: vec![brane()], next: Some(next()) }),
        "CreateBrane" => json(&CreateBrane {
            id: Some(BRANE),
            name: "Workshop".to_owned(),
            kind: "personal".to_owned(),
            visibility: Visibility::Unlisted,
            cell_size: None,
        }),
        "ErrorMessageResponse" => json(&error()),
        "HealthBody" => json(&HealthBody::ok()),
        "ObjectPage" => json(&ObjectPage {
            at: Position { epoch: Epoch(3), seq: Seq(1_041) },
            objects: vec![object()],
            next: Some(Handle(1)),
        }),
        "RevokeTokens" => json(&RevokeTokens { before: Some(AT_S), ..Default::default() }),
        "RevokedBody" => json(&RevokedBody { until: 1_795_530_206 }),
        "SubmitEdits" => edits(),
        "SubmitResponse" => json(&SubmitResponse {
            epoch: Epoch(3),
            durable: true,
            outcomes: vec![
                outcome(1, EditResult::Applied(Seq(1_040))),
                outcome(2, EditResult::Refused(refusal())),
            ],
        }),
        _ => return things::of(schema),
    })
}

fn json<T: Serialize>(body: &T) -> Json {
    json::parse(&encode(body, Format::Json)).unwrap_or_default()
}

fn brane() -> BraneBody {
    BraneBody {
        id: BRANE,
        name: "Workshop".to_owned(),
        owner: USER,
        kind: "personal".to_owned(),
        visibility: Visibility::Unlisted,
        timestamp: AT_S,
    }
}

fn next() -> String {
    format!("{AT_S}123-{BRANE}")
}

fn error() -> ErrorMessageResponse {
    ErrorMessageResponse {
        code: Code::RateLimited,
        number: Code::RateLimited.number(),
        message: Code::RateLimited.meaning().to_owned(),
        details: None,
        trace_id: TRACE,
        retry_after_ms: Some(250),
        timestamp: AT_S,
        operation: None,
        channel: None,
        address: None,
    }
}

fn object() -> ObjectBody {
    let place = [1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 2.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0];
    ObjectBody {
        handle: Handle(1),
        id: OBJECT,
        parent: ObjectId::new(BRANE.uuid()),
        kind: Kind::Block,
        owner: USER,
        transform: place,
        props: Props::default(),
        in_effect: None,
    }
}

/// Edits are read apart from the rest, so this is what a client writes.
fn edits() -> Json {
    json!({
        "client": "c4a1f0de-52b3-4f6b-8d0a-7b9e3c2d1f00",
        "edits": [{"n": 1, "op": "update", "t": OBJECT.to_string(), "set": {"lit": true}}],
    })
}

fn outcome(counter: u64, result: EditResult) -> EditOutcome {
    EditOutcome { counter: Counter(counter), result }
}

fn refusal() -> Refusal {
    Refusal { code: Code::ObjectNotFound, operation: None }
}
