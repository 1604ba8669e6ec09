//! The routes, as `docs/openapi.json` tells of them.

use serde_json::Value as Json;

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/openapi.json");

/// The brane and the wallet of examples.
pub const BRANE: &str = "5f1d2c6a-3b7e-4c1d-9a52-1e0f6d7c8b90";
pub const WALLET: &str = "0x52908400098527886E0F7030069857D2E4169EE7";
/// The id in a query.
const ID: &str = "6f1b7f7c-8a43-4a52-9f39-0d8c0c1f2a11";
/// Places in listings.
const PLACE: &str = "1-6f1b7f7c-8a43-4a52-9f39-0d8c0c1f2a11";
const CURSOR: &str = "6164.6f1b7f7c-8a43-4a52-9f39-0d8c0c1f2a11";

/// A route.
pub struct Operation {
    /// In capitals.
    pub method: String,
    /// With the names of its parameters in braces.
    pub path: String,
    /// What else is told of it.
    told: Json,
}

/// A parameter of a route.
pub struct Parameter<'a> {
    /// Its name.
    pub name: &'a str,
    /// `path`, `query` or `header`.
    pub place: &'a str,
    /// What it can be.
    pub schema: &'a Json,
}

/// All of them.
pub fn operations() -> Vec<Operation> {
    let text = std::fs::read(DOCUMENT).expect("the API has a document");
    let document: Json = serde_json::from_slice(&text).expect("the document is JSON");
    let mut operations = Vec::new();
    for (path, methods) in document["paths"].as_object().into_iter().flatten() {
        for (method, told) in methods.as_object().into_iter().flatten() {
            let (method, path, told) = (method.to_uppercase(), path.clone(), told.clone());
            operations.push(Operation { method, path, told });
        }
    }
    operations
}

impl Operation {
    /// Its parameters.
    pub fn parameters(&self) -> impl Iterator<Item = Parameter<'_>> {
        self.told["parameters"].as_array().into_iter().flatten().map(|told| Parameter {
            name: told["name"].as_str().unwrap_or_default(),
            place: told["in"].as_str().unwrap_or_default(),
            schema: &told["schema"],
        })
    }

    /// Whether it is for whoever has this: `token` or `admin`.
    pub fn is_for(&self, whom: &str) -> bool {
        self.told["security"].as_array().into_iter().flatten().any(|one| one.get(whom).is_some())
    }

    /// A query with all parameters that it reads.
    pub fn query(&self) -> String {
        // Of what is searched for, places are within what is found.
        let is_read = |name: &str| name != "after" || !self.path.ends_with("/search");
        let of_query = self.parameters().filter(|one| one.place == "query" && is_read(one.name));
        let pairs = of_query.map(|Parameter { name, schema, .. }| {
            let choice = schema["enum"][0].as_str();
            let value = match (schema["type"].as_str(), schema["format"].as_str()) {
                (Some("integer"), _) => "1",
                (_, Some("uuid")) => ID,
                _ if name == "after" && self.path.ends_with("/brane") => PLACE,
                _ if name == "after" => CURSOR,
                _ => choice.unwrap_or("word"),
            };
            format!("{name}={value}")
        });
        pairs.collect::<Vec<_>>().join("&")
    }

    /// The example of a request's body.
    pub fn request(&self) -> Option<&Json> {
        bodies(&self.told["requestBody"]).map(|(_, example)| example).next()
    }

    /// The bodies that it takes and gives: the name of each one's schema, and an
    /// example.
    pub fn bodies(&self) -> impl Iterator<Item = (&str, &Json)> {
        let answers = self.told["responses"].as_object().into_iter().flatten();
        answers.map(|(_, told)| told).chain([&self.told["requestBody"]]).flat_map(bodies)
    }
}

fn bodies(told: &Json) -> impl Iterator<Item = (&str, &Json)> {
    let media = &told["content"]["application/json"];
    let schema = media["schema"]["$ref"].as_str().and_then(|path| path.rsplit('/').next());
    schema.into_iter().map(|schema| (schema, &media["example"]))
}
