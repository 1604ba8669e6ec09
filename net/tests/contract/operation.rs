//! What the document says can be asked.

use std::sync::LazyLock;

use serde_json::{Map, Value as Json};
use uuid::Uuid;

use super::JSON;
use super::common::{Answer, Client};

static DOCUMENT: LazyLock<Json> =
    LazyLock::new(|| serde_json::from_str(include_str!("../../../docs/openapi.json")).unwrap());

/// One method of one path.
pub struct Operation {
    pub method: String,
    pub path: String,
    pub told: Json,
}

impl Operation {
    pub fn all() -> Vec<Self> {
        let mut operations = Vec::new();
        for (path, methods) in DOCUMENT["paths"].as_object().unwrap() {
            for (method, told) in methods.as_object().unwrap() {
                let method = method.to_uppercase();
                operations.push(Self { method, path: path.clone(), told: told.clone() });
            }
        }
        operations
    }

    pub fn needs(&self, scheme: &str) -> bool {
        self.told["security"][0].get(scheme).is_some()
    }

    pub fn is_named(&self) -> bool {
        self.path.contains('{')
    }

    /// Its method and path, as the document has them.
    pub fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    /// Whether a request has to have this header.
    pub fn requires(&self, header: &str) -> bool {
        self.parameter(header).is_some_and(|parameter| parameter["required"] == true)
    }

    /// A parameter of its path, its query or its headers.
    pub fn parameter(&self, name: &str) -> Option<&Json> {
        let mut parameters = self.told["parameters"].as_array().into_iter().flatten();
        parameters.find(|parameter| parameter["name"] == name)
    }

    /// Its path with this in place of every name.
    pub fn path_of(&self, name: &str) -> String {
        self.path_with(|_| name.to_owned())
    }

    /// Its path with a name in place of each, found by what is before it.
    pub fn path_with(&self, name: impl Fn(&str) -> String) -> String {
        let (mut before, mut path) = (String::new(), String::new());
        for part in self.path.split_inclusive('/') {
            match part.starts_with('{') {
                true => path += &part.replace(part.trim_end_matches('/'), &name(&before)),
                false => path += part,
            }
            before += part;
        }
        path
    }

    /// The fields that its body may have, with their schemas.
    pub fn takes(&self) -> Map<String, Json> {
        fields_of(&self.told["requestBody"])
    }

    /// The same of what it answers when it is done.
    pub fn answers(&self) -> Map<String, Json> {
        let answers = self.told["responses"].as_object().unwrap();
        let done = answers.iter().filter(|(status, _)| status.starts_with('2'));
        done.flat_map(|(_, answer)| fields_of(answer)).collect()
    }

    /// The example of its body, if it takes one.
    pub fn example(&self) -> Option<Json> {
        let body = &self.told["requestBody"]["content"]["application/json"];
        body.get("example").cloned()
    }

    pub async fn ask(&self, client: &mut Client, path: &str, more: &[(&str, &str)]) -> Answer {
        let body = self.example();
        self.say(client, path, more, body.as_ref()).await
    }

    pub async fn say(
        &self,
        client: &mut Client,
        path: &str,
        more: &[(&str, &str)],
        body: Option<&Json>,
    ) -> Answer {
        let key = Uuid::new_v4().to_string();
        let mut headers = vec![JSON];
        if self.method != "GET" && !more.iter().any(|(name, _)| *name == "idempotency-key") {
            headers.push(("idempotency-key", &key));
        }
        headers.extend_from_slice(more);
        let body = body.map(Json::to_string).unwrap_or_default();
        let answer = client.ask(&self.method, path, &headers, body.as_bytes()).await;
        let status = answer.status.to_string();
        let told = self.told["responses"].get(&status);
        let name = format!("{} {path}", self.method);
        assert!(
            told.is_some(),
            "{name} answers {status}: {}",
            String::from_utf8_lossy(&answer.body)
        );
        assert!(answer.status < 500 || answer.status == 501, "{name} answers {status}");
        answer
    }
}

/// The fields of a body, with their schemas.
fn fields_of(body: &Json) -> Map<String, Json> {
    let schema = &body["content"]["application/json"]["schema"]["$ref"];
    let name = schema.as_str().and_then(|name| name.strip_prefix("#/components/schemas/"));
    let fields = name.and_then(|name| DOCUMENT["components"]["schemas"][name].get("properties"));
    fields.and_then(Json::as_object).cloned().unwrap_or_default()
}
