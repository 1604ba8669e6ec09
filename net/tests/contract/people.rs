//! People who own one thing of each kind that a path can name.

use avvy_persistence::records::{
    Change, Collection, Commit, CommitId, Draft, Expect, Fields, RecordKey, RecordWrite, Value,
};
use serde_json::{Value as Json, json};
use uuid::Uuid;

use super::common::wallet::Wallet;
use super::common::{Answer, Client, TestServer};
use super::operation::Operation;

static WAYS_IN: Collection = Collection { name: "ways_in", indexes: &[] };
static WAYS_OF: Collection = Collection { name: "ways_of", indexes: &[] };

/// Somebody who has signed in just now, twice, and can in three ways.
pub struct Person {
    pub client: Client,
    user: String,
    /// The other sign-in.
    session: String,
    /// Another wallet than the one that they signed in by.
    wallet: String,
    account: String,
}

/// One thing of each kind.
#[derive(Clone)]
pub struct Things {
    brane: String,
    /// In the brane, as what is called so.
    portal: String,
    vase: String,
    object: String,
    group: String,
    /// What paths name; in the group's gallery.
    prototype: String,
    /// A version that is published, of which there is an instance in the brane.
    lamp: String,
    user: String,
    session: String,
    wallet: String,
    account: String,
}

impl Person {
    pub async fn new(server: &TestServer, nth: u8) -> Self {
        let mut client = server.client().await;
        client.token = None;
        let (first, second) = (Wallet::new(nth), Wallet::new(nth + 100));
        let tokens = sign_in(&mut client, &first).await;
        let session = text(&sign_in(&mut client, &first).await, "session");
        client.token = Some(text(&tokens, "access_token"));
        let asked = json!({"address": second.address(), "purpose": "attach"});
        let signed = sign(&mut client, &second, asked).await;
        let (status, told) = client.json("POST", "/api/v1/auth/wallets", Some(signed)).await;
        assert_eq!(status, 200, "{told}");
        let (user, account) = (text(&tokens, "user"), format!("{nth:064x}"));
        let wallets = [first.address(), second.address()];
        attach_account(server, &user, &account, &wallets).await;
        Self { client, user, session, wallet: second.address(), account }
    }

    /// Makes one thing of each kind; `visibility` is that of all that paths name.
    pub async fn things(&mut self, visibility: &str) -> Things {
        let is_shown = visibility != "private";
        let brane = json!({"name": "Hall", "visibility": visibility});
        let brane = self.make("/brane", brane).await;
        let there = json!({"brane": brane});
        let lamp = self.make("/prototype", json!({"name": "Lamp"})).await;
        self.change(&format!("/prototype/{lamp}/publish"), Json::Null).await;
        self.change(&format!("/prototype/{lamp}/place"), there.clone()).await;
        let vase = self.make("/object", json!({"kind": "block", "name": "Vase"})).await;
        self.change(&format!("/object/{vase}/place"), there.clone()).await;
        let portal = self.make(&format!("/brane/{brane}/portals"), json!({"to": there})).await;
        let prototype = self.make("/prototype", json!({"name": "Stool"})).await;
        let object = self.make("/object", json!({"kind": "block", "name": "Chair"})).await;
        let group = json!({"kind": "group", "name": "Set", "gallery_ids": [prototype]});
        let shown = json!({"visibility": visibility});
        if is_shown {
            self.change(&format!("/prototype/{prototype}/publish"), shown.clone()).await;
        }
        let group = self.make("/object", group).await;
        if is_shown {
            for id in [&object, &group] {
                self.change(&format!("/object/{id}/publish"), shown.clone()).await;
            }
        }
        let Self { user, session, wallet, account, .. } = self;
        let [user, session, wallet, account] =
            [user, session, wallet, account].map(|it| it.clone());
        Things {
            brane,
            portal,
            vase,
            object,
            group,
            prototype,
            lamp,
            user,
            session,
            wallet,
            account,
        }
    }

    /// Makes things to which an operation can be done.
    pub async fn fit(&mut self, operation: &Operation) -> Things {
        let mut things = self.things("private").await;
        let ends_with = |end| operation.path.ends_with(end);
        if ["/deprecate", "/place", "/update"].into_iter().any(ends_with) {
            things.prototype = things.lamp.clone();
        }
        if operation.takes().contains_key("child_ids") {
            things.object = things.group.clone();
        }
        things
    }

    /// Asks for what a path names, of whatever version it is.
    pub async fn ask(&mut self, operation: &Operation, path: &str, body: Option<&Json>) -> Answer {
        let mut headers = vec![("accept", "application/json")];
        if operation.requires("If-Match") {
            headers.push(("if-match", "*"));
        }
        operation.say(&mut self.client, path, &headers, body).await
    }

    async fn make(&mut self, path: &str, body: Json) -> String {
        text(&self.change(path, body).await, "id")
    }

    async fn change(&mut self, path: &str, body: Json) -> Json {
        let key = Uuid::new_v4().to_string();
        let json = "application/json";
        let headers = [("content-type", json), ("accept", json), ("idempotency-key", &*key)];
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let path = format!("/api/v1{path}");
        let answer = self.client.ask("POST", &path, &headers, body.as_bytes()).await;
        assert!((200..300).contains(&answer.status), "{path}: {}", answer.text());
        answer.as_json()
    }
}

impl Things {
    /// Names of things that are not there.
    pub fn absent() -> Self {
        let id = || Uuid::new_v4().to_string();
        Self {
            brane: id(),
            portal: id(),
            vase: id(),
            object: id(),
            group: id(),
            prototype: id(),
            lamp: id(),
            user: id(),
            session: id(),
            wallet: Wallet::new(99).address(),
            account: "5a".repeat(32),
        }
    }

    /// The path of an operation that names these things, asked by who owns those.
    pub fn path(&self, operation: &Operation, own: &Self) -> String {
        let path = operation.path_with(|before| self.named(operation, before).to_owned());
        match operation.parameter("brane") {
            Some(_) => format!("{path}?brane={}", own.brane),
            None => path,
        }
    }

    /// What the parameter after this part of a path names. A new kind of thing
    /// needs a row, and somebody who owns one.
    fn named(&self, operation: &Operation, before: &str) -> &str {
        let is_gallery = operation.path.contains("/gallery");
        match before.strip_prefix("/api/v1").unwrap() {
            "/brane/" => &self.brane,
            "/brane/{id}/portals/" => &self.portal,
            "/object/" if is_gallery => &self.group,
            "/object/" => &self.object,
            "/object/{id}/gallery/" | "/prototype/" => &self.prototype,
            "/users/" => &self.user,
            "/auth/sessions/" => &self.session,
            "/auth/accounts/" => &self.account,
            "/auth/wallets/" => &self.wallet,
            _ => panic!("{}: nobody here owns what is named after {before}", operation.name()),
        }
    }

    /// The same beside a thing of one's own: what comes first is of these, what
    /// comes then of those.
    pub fn and(&self, those: &Self, operation: &Operation, before: &str) -> String {
        let of = if before.contains('{') { those } else { self };
        of.named(operation, before).to_owned()
    }

    /// The example of a body with these things in place of those that it names.
    pub fn body(&self, operation: &Operation) -> Option<Json> {
        match operation.path.strip_prefix("/api/v1").unwrap() {
            // Without a signature: whoever owns it has signed in just now.
            "/auth/wallets/{address}" => None,
            // Another one than that which asks.
            "/token/revoke" => Some(json!({"id": Uuid::new_v4().to_string()})),
            _ => {
                let mut body = operation.example()?;
                self.replace(&mut body);
                Some(body)
            }
        }
    }

    /// What a field of this name in a body has of these things; `None` where it
    /// names none that there has to be.
    pub fn in_body(&self, field: &str) -> Option<Json> {
        Some(match field {
            "brane" | "successor" => json!(self.brane),
            "object" | "parent" => json!(self.vase),
            "prototype" => json!(self.prototype),
            "to" => json!({"brane": self.brane}),
            "child_ids" => json!([self.object]),
            "gallery_ids" => json!([self.prototype]),
            // Handlers are kept, and nobody looks for them.
            "id" | "client" | "trace" | "handler_ids" => return None,
            _ => panic!("nobody here owns what {field} names"),
        })
    }

    fn replace(&self, body: &mut Json) {
        match body {
            Json::Object(fields) => {
                // A block has none.
                fields.remove("child_ids");
                for (name, value) in fields.iter_mut() {
                    match name.as_str() {
                        "brane" => *value = json!(self.brane),
                        "object" | "t" => *value = json!(self.vase),
                        "prototype" => *value = json!(self.lamp),
                        "id" | "client" => *value = json!(Uuid::new_v4().to_string()),
                        _ => self.replace(value),
                    }
                }
            }
            Json::Array(values) => values.iter_mut().for_each(|value| self.replace(value)),
            _ => {}
        }
    }
}

pub fn text(body: &Json, key: &str) -> String {
    body[key].as_str().unwrap_or_else(|| panic!("{key} in {body}")).to_owned()
}

async fn sign_in(client: &mut Client, wallet: &Wallet) -> Json {
    let signed = sign(client, wallet, json!({"address": wallet.address()})).await;
    let (status, tokens) = client.json("POST", "/api/v1/auth/wallet", Some(signed)).await;
    assert_eq!(status, 200, "{tokens}");
    tokens
}

async fn sign(client: &mut Client, wallet: &Wallet, asked: Json) -> Json {
    let (status, told) = client.json("POST", "/api/v1/auth/challenge", Some(asked)).await;
    assert_eq!(status, 200, "{told}");
    wallet.sign(&text(&told, "message"))
}

/// Lets an account elsewhere sign in somebody who has these wallets, as the one
/// who comes back from a provider does.
async fn attach_account(server: &TestServer, user: &str, account: &str, wallets: &[String]) {
    let way = format!("account:{account}");
    let mut ways: Vec<_> = wallets.iter().map(|wallet| format!("wallet:{wallet}")).collect();
    ways.push(way.clone());
    let now_s = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let now_s = now_s.as_secs();
    let attached = Fields::new()
        .with("user", user)
        .with("label", "https://id.example")
        .with("created", Value::time(now_s));
    let ways = ways.iter().map(|way| Value::from(way.as_str())).collect();
    let of_user = RecordWrite {
        of: &WAYS_OF,
        key: user.parse::<Uuid>().unwrap().into(),
        expect: Expect::Present,
        change: Change::Put(Draft::new(Fields::new().with("ways", Value::Array(ways)))),
    };
    let create = RecordWrite::create(&WAYS_IN, RecordKey::new(way).unwrap(), Draft::new(attached));
    let commit = Commit { id: CommitId(Uuid::new_v4()), writes: vec![create, of_user] };
    server.records.commit(commit, now_s).await.unwrap().unwrap();
}
