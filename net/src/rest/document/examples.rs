//! An example of each body, made of the very types that routes read and write.

mod portals;
mod things;

use avvy_model::{
    BraneId, Code, Counter, Epoch, GrantId, Handle, Kind, ObjectId, Position, Props, Refusal, Role,
    Ruled, Sanction, Seq, Standing, TraceId, UserId, Visibility,
};
use avvy_protocol::json;
use avvy_protocol::rest::{
    AccountBody, AccountsBody, ArchiveBrane, AskChallenge, BraneBody, BranePage, ChallengeBody,
    CreateBrane, DevelopmentSignIn, EditOutcome, EditResult, ErrorMessageResponse, Format,
    GrantBody, HealthBody, ObjectBody, ObjectPage, OpenBraneBody, PatchBrane, ProvidersBody,
    RefreshBody, RegionBody, RevokeTokens, RevokedBody, RightsBody, RulingBody, RulingPage,
    SignInBody, SignInsBody, SignedBody, StatusBody, SubmitResponse, TicketBody, TokensBody,
    WalletsBody, encode,
};
use serde::Serialize;
use serde_json::{Value as Json, json};
use uuid::Uuid;

const BRANE: BraneId = BraneId::new(Uuid::from_u128(0x5f1d2c6a_3b7e_4c1d_9a52_1e0f6d7c8b90));
const OBJECT: ObjectId = ObjectId::new(Uuid::from_u128(0x0b9d8e7f_6a5c_4d3e_8f1a_2b3c4d5e6f70));
const USER: UserId = UserId::new(Uuid::from_u128(0x64657665_6c6f_4000_8000_706572000001));
const TRACE: TraceId = TraceId::new(Uuid::from_u128(0x0af76519_16cd_43dd_8448_eb211c80319c));
const SESSION: Uuid = Uuid::from_u128(0xb0c6d1a2_93f4_4c59_8a41_0f2d7e6b5c38);
const WALLET: &str = "0x52908400098527886E0F7030069857D2E4169EE7";
const REFRESH: &str = "c29tZXRoaW5nIG9mIGZvcnR5LWVpZ2h0IGJ5dGVzIHRoYXQgaXMgb25seSB5b3Vy";
const MESSAGE: &str = "example.org wants you to sign in with your Ethereum account:\n\
    0x52908400098527886E0F7030069857D2E4169EE7\n\nSign in to Avvyland.\n\n\
    URI: https://example.org\nVersion: 1\nChain ID: 1\n\
    Nonce: 0f1e2d3c4b5a69788796a5b4c3d2e1f0\nIssued At: 2026-11-24T02:23:20Z\n\
    Expiration Time: 2026-11-24T02:28:20Z";
const AT_S: u64 = 1_795_487_000;

/// The example of a schema, by its name.
pub(super) fn of(schema: &str) -> Option<Json> {
    Some(match schema {
        "AccountBody" => json(&account()),
        "AccountsBody" => json(&AccountsBody { accounts: vec![account()] }),
        "AskChallenge" => json(&AskChallenge {
            address: WALLET.to_owned(),
            chain_id: Some(1),
            purpose: None,
            wallet: None,
        }),
        "BraneBody" => json(&brane()),
        "PatchBrane" => json(&PatchBrane {
            name: Some("Workshop".to_owned()),
            tags: Some(vec!["wood".to_owned()]),
            ..PatchBrane::default()
        }),
        "ArchiveBrane" => json(&ArchiveBrane { successor: None }),
        "BranePage" => json(&BranePage { branes: vec![brane()], next: Some(next()) }),
        "ChallengeBody" => json(&ChallengeBody {
            message: MESSAGE.to_owned(),
            nonce: "0f1e2d3c4b5a69788796a5b4c3d2e1f0".to_owned(),
            expires: AT_S + 300,
        }),
        "CreateBrane" => json(&CreateBrane {
            id: Some(BRANE),
            name: "Workshop".to_owned(),
            kind: "personal".to_owned(),
            visibility: Visibility::Unlisted,
            cell_size: None,
        }),
        "DevelopmentSignIn" => json(&DevelopmentSignIn { name: "ada".to_owned() }),
        "ErrorMessageResponse" => json(&error()),
        "HealthBody" => json(&HealthBody::ok()),
        "ObjectPage" => json(&ObjectPage {
            at: Position { epoch: Epoch(3), seq: Seq(1_041) },
            objects: vec![object()],
            next: Some(Handle(1)),
        }),
        "ProvidersBody" => json(&ProvidersBody { providers: vec!["google".to_owned()] }),
        "RefreshBody" => json(&RefreshBody { refresh_token: REFRESH.to_owned() }),
        "RevokeTokens" => json(&RevokeTokens { before: Some(AT_S), ..Default::default() }),
        "RightsBody" => json(&rights()),
        "RulingPage" => json(&RulingPage { rulings: vec![ruling()], next: None }),
        "RevokedBody" => json(&RevokedBody { until: 1_795_530_206 }),
        "SignInsBody" => json(&SignInsBody { sessions: vec![sign_in()] }),
        "SignedBody" => json(&SignedBody {
            message: MESSAGE.to_owned(),
            signature: format!("0x{}1b", "5a".repeat(64)),
        }),
        "StatusBody" => json(&status()),
        "SubmitEdits" => edits(),
        "SubmitResponse" => json(&SubmitResponse {
            epoch: Epoch(3),
            durable: true,
            outcomes: vec![
                outcome(1, EditResult::Applied(Seq(1_040))),
                outcome(2, EditResult::Refused(refusal())),
            ],
        }),
        "TicketBody" => json(&TicketBody {
            ticket: "b25lIG9mIHRoaXJ0eS10d28gYnl0ZXMgdGhhdCBpcyBvbmx5".to_owned(),
            verifier: "the-secret-that-the-app-keeps-until-it-is-back".to_owned(),
        }),
        "TokensBody" => json(&TokensBody {
            access_token: "eyJhbGciOiJFZERTQSJ9.e30.c2lnbmF0dXJl".to_owned(),
            access_expires: AT_S + 900,
            refresh_token: REFRESH.to_owned(),
            refresh_expires: AT_S + 1_209_600,
            user: USER,
            session: SESSION,
            is_new: true,
        }),
        "WalletsBody" => json(&WalletsBody { wallets: vec![WALLET.to_owned()] }),
        _ => return things::of(schema).or_else(|| portals::of(schema)),
    })
}

fn account() -> AccountBody {
    AccountBody {
        id: "5a".repeat(32),
        issuer: "https://accounts.google.com".to_owned(),
        attached: AT_S,
    }
}

fn sign_in() -> SignInBody {
    SignInBody {
        id: SESSION,
        began: AT_S,
        used: AT_S + 600,
        expires: AT_S + 1_210_200,
        by: WALLET.to_owned(),
        agent: Some("Mozilla/5.0".to_owned()),
        is_this: true,
    }
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
        description: "Where we build.".to_owned(),
        tags: vec!["wood".to_owned()],
        life: "active".to_owned(),
        since: None,
        purge_from: None,
        successor: None,
        by_operator: false,
        version: 3,
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

fn ruling() -> RulingBody {
    let editor = Standing { role: Some(Role::Editor.into()), ..Standing::default() };
    let banned = Standing { ban: Some(Sanction { until_ms: None }), ..editor.clone() };
    let ruled = Ruled::Standing { user: USER, before: editor, after: banned };
    RulingBody::new(Seq(812), AT_S * 1_000 + 123, USER, &ruled)
}

fn rights() -> RightsBody {
    let grant = GrantBody {
        grant: GrantId::new(Uuid::from_u128(0x7c9e6679_7425_40de_944b_e07fc1f90ae7)),
        to: USER,
        verbs: vec!["move".to_owned()],
        keys: None,
        prototype: None,
        region: Some(RegionBody { min: [0.0; 3], max: [4.0, 3.0, 4.0] }),
        within: None,
        until_ms: None,
        by: USER,
    };
    RightsBody {
        role: "editor".to_owned(),
        verbs: vec!["move".to_owned(), "edit".to_owned()],
        grants: vec![grant],
        mute: None,
        table: None,
    }
}

fn status() -> StatusBody {
    let open =
        OpenBraneBody { brane: BRANE, visibility: Visibility::Public, sessions: 12, objects: 301 };
    StatusBody { sessions: 14, open_branes: 1, branes: vec![open], revoked: 0, is_stopping: false }
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

/// The example of a route's request, where that of its schema is not for it.
pub(super) fn of_request(path: &str) -> Option<Json> {
    (path == "/api/v1/brane/{id}/rights").then(rulings)
}

fn rulings() -> Json {
    json!({
        "client": "c4a1f0de-52b3-4f6b-8d0a-7b9e3c2d1f00",
        "edits": [{"n": 1, "op": "appoint", "user": USER.to_string(), "role": "editor"}],
    })
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
