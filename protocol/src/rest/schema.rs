//! How the words of bodies look in JSON, for the document of the REST API. The
//! bodies derive theirs; these are of what has its own form on the wire.

use avvy_model::{Code, Verb};
use utoipa::openapi::schema::{AdditionalProperties, SchemaType, Type};
use utoipa::openapi::{ArrayBuilder, Object, ObjectBuilder, Schema, SchemaFormat};

fn text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(SchemaType::Type(Type::String))
}

fn one_of<'a>(values: impl IntoIterator<Item = &'a str>) -> Object {
    text().enum_values(Some(values)).build()
}

fn number(most: u64) -> Object {
    ObjectBuilder::new()
        .schema_type(SchemaType::Type(Type::Integer))
        .minimum(Some(0_u64))
        .maximum(Some(most))
        .build()
}

/// A UUID.
pub fn id() -> Object {
    text().format(Some(SchemaFormat::Custom("uuid".to_owned()))).build()
}

/// UUIDs in an order.
pub fn ids() -> Schema {
    ArrayBuilder::new().items(id()).into()
}

/// SHA3-256 of assets, in hexadecimal.
pub fn hashes() -> Schema {
    let hash = text().pattern(Some("^[0-9a-fA-F]{64}$")).build();
    ArrayBuilder::new().items(hash).max_items(Some(32)).into()
}

/// A UUID that a client draws: of version 4.
pub fn drawn_id() -> Object {
    let pattern = "^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$";
    text().format(Some(SchemaFormat::Custom("uuid".to_owned()))).pattern(Some(pattern)).build()
}

/// What people call a thing: some letters, and no control characters.
pub fn name() -> Object {
    text()
        .min_length(Some(1))
        .max_length(Some(256))
        .pattern(Some("^[^\\u0000-\\u001f\\u007f-\\u009f]*$"))
        .build()
}

/// Who may see a thing.
pub fn visibility() -> Object {
    one_of(["private", "unlisted", "public"])
}

/// What a brane is for.
pub fn brane_kind() -> Object {
    one_of(["personal", "showcase", "rental", "public"])
}

/// What has become of a brane.
pub fn brane_life() -> Object {
    one_of(["active", "archived", "deleted", "purging", "purged"])
}

/// Group or block.
pub fn object_kind() -> Object {
    one_of(["group", "block"])
}

/// A code's name.
pub fn code() -> Object {
    one_of(Code::ALL.iter().map(|code| code.name()))
}

/// An object's ordinal, or a channel.
pub fn handle() -> Object {
    number(u32::MAX.into())
}

/// A whole number that rises.
pub fn counter() -> Object {
    number(u64::MAX)
}

/// `[epoch, seq]`.
pub fn position() -> Schema {
    ArrayBuilder::new().items(counter()).min_items(Some(2)).max_items(Some(2)).into()
}

/// 16 numbers.
pub fn matrix() -> Schema {
    let real = ObjectBuilder::new().schema_type(SchemaType::Type(Type::Number)).build();
    ArrayBuilder::new().items(real).min_items(Some(16)).max_items(Some(16)).into()
}

/// Properties: any values by their names.
pub fn props() -> Object {
    ObjectBuilder::new()
        .schema_type(SchemaType::Type(Type::Object))
        .additional_properties(Some(AdditionalProperties::FreeForm(true)))
        .build()
}

/// `{"n", "seq"}` or `{"n", "code", "operation"?}` for each edit.
pub fn outcomes() -> Schema {
    let outcome = ObjectBuilder::new()
        .schema_type(SchemaType::Type(Type::Object))
        .property("n", counter())
        .property("seq", counter())
        .property("code", code())
        .property("operation", handle())
        .required("n")
        .build();
    ArrayBuilder::new().items(outcome).into()
}

/// Edits, each with its number and its operation; what else it has goes by the
/// operation (`PROTOCOL.md`, Operations).
pub fn edits() -> Schema {
    let edit = ObjectBuilder::new()
        .schema_type(SchemaType::Type(Type::Object))
        .property("n", counter())
        .property("op", text())
        .required("n")
        .required("op")
        .additional_properties(Some(AdditionalProperties::FreeForm(true)))
        .build();
    ArrayBuilder::new().items(edit).min_items(Some(1)).into()
}

/// Names of verbs.
pub fn verbs() -> Schema {
    ArrayBuilder::new().items(one_of(Verb::ALL.iter().map(|verb| verb.name()))).into()
}
