//! Edits: what `object.update` carries.

use avvy_model::{
    Code, Counter, DeleteMode, Edit, Handle, InvalidValue, Kind, MovePatch, NumberedEdit, ObjectId,
    Operation, Parts, PropKey, Props, PropsPatch, Target, Transform, Value, ValueLimits,
};

use super::envelope::to_envelope;
use super::out::Out;
use super::record::{read_parts, read_record, write_parts};
use super::rights::{RulingWire, is_ruling, read_ruling};
use super::scan::{Fault, bytes, entries, field, fields, items, number, text, uint};
use super::{DecodeLimits, fast};
use crate::{MoveRecord, RefusedEdit};

/// Edits that could be read, and refusals of those that could not.
pub(crate) type ReadEdits = (Vec<NumberedEdit>, Vec<RefusedEdit>);

const MISSING: Fault = Fault::malformed("a field that the operation needs is missing");
const OUT_OF_RANGE: Fault =
    Fault { code: Code::OutOfRange, reason: "a position, rotation or scale is outside its range" };

/// Reads an array of numbered edits.
///
/// # Errors
/// When it is no such array, has too many, or one of them has no number. What
/// else is wrong with an edit concerns that edit alone.
pub(crate) fn decode_edits(array: &[u8], limits: &DecodeLimits) -> Result<ReadEdits, Fault> {
    let (mut edits, mut refused) = (Vec::new(), Vec::new());
    items(array, |item| {
        if edits.len() + refused.len() >= limits.max_edits {
            return Err(Fault { code: Code::TooLarge, reason: "too many edits in one message" });
        }
        if let Some(edit) = fast::packed_move(item) {
            edits.push(edit);
            return Ok(());
        }
        let [n, op] = fields(item, &["n", "op"])?;
        let counter = Counter(uint(n.ok_or(Fault::malformed("an edit has no number"))?)?);
        match read_edit(item, op, limits) {
            Ok(edit) => edits.push(NumberedEdit { counter, edit }),
            Err(EditFault { fault, operation }) => {
                refused.push(RefusedEdit { counter, code: fault.code, operation });
            }
        }
        Ok(())
    })?;
    Ok((edits, refused))
}

/// Writes a numbered edit.
pub(super) fn write_numbered(numbered: &NumberedEdit, out: &mut Out) {
    match &numbered.edit {
        Edit::One(operation) => write_operation(operation, Some(numbered.counter), out),
        edit @ (Edit::Batch(_) | Edit::Follow(_)) => {
            let operations = edit.operations();
            out.map(3).text("n").uint(numbered.counter.0).text("op").text("batch");
            out.text("ops").array(operations.len());
            for operation in operations {
                write_operation(operation, None, out);
            }
        }
        Edit::Rule(ruling) => {
            let number = vec![("n", ciborium::Value::from(numbered.counter.0))];
            out.encoded(&to_envelope(&RulingWire::from(&**ruling), number));
        }
    }
}

/// What is wrong with one edit, and in which operation of a batch.
struct EditFault {
    fault: Fault,
    operation: Option<u32>,
}

impl From<Fault> for EditFault {
    fn from(fault: Fault) -> Self {
        Self { fault, operation: None }
    }
}

fn read_edit(item: &[u8], op: Option<&[u8]>, limits: &DecodeLimits) -> Result<Edit, EditFault> {
    let op = text(op.ok_or(MISSING)?)?;
    if is_ruling(op) {
        return Ok(Edit::Rule(Box::new(read_ruling(item, &limits.values)?)));
    }
    if op != "batch" {
        return Ok(Edit::One(read_operation(item, op, &limits.values)?));
    }
    let mut operations = Vec::new();
    items(field(item, "ops")?, |item| {
        if operations.len() >= limits.max_batch {
            let reason = "too many operations in one batch";
            return Err(EditFault::from(Fault { code: Code::BatchTooLarge, reason }));
        }
        let at = operations.len() as u32;
        let operation = field(item, "op")
            .and_then(text)
            .and_then(|op| read_operation(item, op, &limits.values))
            .map_err(|fault| EditFault { fault, operation: Some(at) })?;
        operations.push(operation);
        Ok(())
    })?;
    Ok(Edit::Batch(operations))
}

fn read_operation(item: &[u8], op: &str, limits: &ValueLimits) -> Result<Operation, Fault> {
    match op {
        "move" => read_move(item),
        "update" => {
            Ok(Operation::Update { target: field_target(item)?, patch: read_patch(item, limits)? })
        }
        "create" => read_create(item, limits),
        "reparent" => {
            let [parent, transform] = fields(item, &["parent", "transform"])?;
            Ok(Operation::Reparent {
                target: field_target(item)?,
                parent: target(parent.ok_or(MISSING)?)?,
                transform: transform.map(read_transform).transpose()?,
            })
        }
        "delete" => {
            let mode = match text(field(item, "mode")?)? {
                "subtree" => DeleteMode::Subtree,
                "keep_children" => DeleteMode::KeepChildren,
                _ => return Err(Fault::malformed("no such mode of deletion")),
            };
            Ok(Operation::Delete { target: field_target(item)?, mode })
        }
        _ => Err(Fault { code: Code::UnknownOperation, reason: "no such operation of an edit" }),
    }
}

fn read_create(item: &[u8], limits: &ValueLimits) -> Result<Operation, Fault> {
    let names = ["id", "kind", "props", "parent", "transform"];
    let [id, kind, props, parent, transform] = fields(item, &names)?;
    Ok(Operation::Create {
        id: object_id(id.ok_or(MISSING)?)?,
        parent: target(parent.ok_or(MISSING)?)?,
        kind: read_kind(kind.ok_or(MISSING)?)?,
        transform: transform.map_or(Ok(Transform::IDENTITY), read_transform)?,
        props: props.map_or(Ok(Props::default()), |props| read_props(props, limits))?,
    })
}

fn write_operation(operation: &Operation, counter: Option<Counter>, out: &mut Out) {
    let numbered = usize::from(counter.is_some());
    let number = |out: &mut Out| {
        if let Some(counter) = counter {
            out.text("n").uint(counter.0);
        }
    };
    match operation {
        Operation::Create { id, parent, kind, transform, props } => {
            out.map(6 + numbered);
            number(out);
            out.text("id").id(id.uuid()).text("op").text("create");
            out.text("kind").text(kind.name()).text("props").encoded(props.as_bytes());
            write_target("parent", *parent, out);
            out.text("transform").bytes(&transform.to_packed());
        }
        Operation::Update { target, patch } => {
            out.map(2 + numbered + patch_fields(patch));
            number(out);
            write_target("t", *target, out);
            out.text("op").text("update");
            write_set(patch, out);
            write_remove(patch, out);
        }
        Operation::Move { target: Target::Handle(handle), patch } => {
            out.map(2 + numbered).text("m");
            MoveRecord { handle: *handle, patch: *patch }.write(out);
            number(out);
            out.text("op").text("move");
        }
        Operation::Move { target, patch } => {
            out.map(3 + numbered).text("m");
            let (parts, to) = (patch.parts(), patch.apply(&Transform::IDENTITY));
            out.bytes_with(1 + parts.packed_len(), |out| write_parts(parts, &to, out));
            number(out);
            write_target("t", *target, out);
            out.text("op").text("move");
        }
        Operation::Reparent { target, parent, transform } => {
            out.map(3 + numbered + usize::from(transform.is_some()));
            number(out);
            write_target("t", *target, out);
            out.text("op").text("reparent");
            write_target("parent", *parent, out);
            if let Some(transform) = transform {
                out.text("transform").bytes(&transform.to_packed());
            }
        }
        Operation::Delete { target, mode } => {
            out.map(3 + numbered);
            number(out);
            write_target("t", *target, out);
            out.text("op").text("delete").text("mode").text(match mode {
                DeleteMode::Subtree => "subtree",
                DeleteMode::KeepChildren => "keep_children",
            });
        }
    }
}

/// A move: packed in `m`, or of `position` (metres), `rotation` (quaternion
/// x, y, z, w) and `scale` in floats, for writers who would not pack.
fn read_move(item: &[u8]) -> Result<Operation, Fault> {
    let [m, t] = fields(item, &["m", "t"])?;
    match (m, t) {
        (Some(m), None) => {
            let record = read_record(bytes(m)?)?;
            Ok(Operation::Move { target: Target::Handle(record.handle), patch: record.patch })
        }
        (Some(m), Some(t)) => {
            Ok(Operation::Move { target: target(t)?, patch: read_parts(bytes(m)?)? })
        }
        (None, t) => Ok(Operation::Move {
            target: target(t.ok_or(MISSING)?)?,
            patch: patch_of_floats(item)?,
        }),
    }
}

fn patch_of_floats(item: &[u8]) -> Result<MovePatch, Fault> {
    let [position, rotation, scale] = fields(item, &["position", "rotation", "scale"])?;
    let bit = |given: Option<&[u8]>, part: Parts| given.map_or(0, |_| part.bits());
    let bits =
        bit(position, Parts::POSITION) | bit(rotation, Parts::ROTATION) | bit(scale, Parts::SCALE);
    let to = Transform::from_parts(
        position.map_or(Ok([0.0; 3]), numbers)?,
        rotation.map_or(Ok([0.0, 0.0, 0.0, 1.0]), numbers)?,
        scale.map_or(Ok([1.0; 3]), numbers)?,
    );
    let to = to.map_err(|_| OUT_OF_RANGE)?;
    Ok(MovePatch::new(Parts::from_bits(bits).ok_or(MISSING)?, to))
}

/// A transform: 30 packed bytes, or a row-major matrix of 16 numbers.
pub(super) fn read_transform(item: &[u8]) -> Result<Transform, Fault> {
    let Ok(packed) = bytes(item) else {
        return Transform::from_matrix(&numbers(item)?).map_err(|_| OUT_OF_RANGE);
    };
    let packed = packed.try_into().map_err(|_| Fault::malformed("a transform has 30 bytes"))?;
    Transform::from_packed(packed).map_err(|_| OUT_OF_RANGE)
}

fn numbers<const N: usize>(item: &[u8]) -> Result<[f64; N], Fault> {
    let wrong = Fault::malformed("an array of another length was expected");
    let (mut out, mut count) = ([0.0; N], 0);
    items(item, |item| {
        *out.get_mut(count).ok_or(wrong)? = number(item)?;
        count += 1;
        Ok::<_, Fault>(())
    })?;
    if count == N { Ok(out) } else { Err(wrong) }
}

fn field_target(item: &[u8]) -> Result<Target, Fault> {
    target(field(item, "t")?)
}

/// An unsigned integer is a handle, a text an id.
fn target(item: &[u8]) -> Result<Target, Fault> {
    match item.first() {
        Some(0x60..=0x7f) => object_id(item).map(Target::Id),
        _ => handle(item).map(Target::Handle),
    }
}

fn write_target(key: &str, target: Target, out: &mut Out) {
    out.text(key);
    match target {
        Target::Handle(handle) => out.uint(u64::from(handle.0)),
        Target::Id(id) => out.id(id.uuid()),
    };
}

/// A handle.
pub(super) fn handle(item: &[u8]) -> Result<Handle, Fault> {
    let n = u32::try_from(uint(item)?);
    n.map(Handle).map_err(|_| Fault::malformed("a handle has 32 bits"))
}

/// An object's id.
pub(super) fn object_id(item: &[u8]) -> Result<ObjectId, Fault> {
    text(item)?.parse().map_err(|_| Fault::malformed("not a UUID of the form 8-4-4-4-12"))
}

/// A kind by its name.
pub(super) fn read_kind(item: &[u8]) -> Result<Kind, Fault> {
    Kind::from_name(text(item)?).ok_or(Fault::malformed("no such kind of object"))
}

/// Properties.
pub(super) fn read_props(item: &[u8], limits: &ValueLimits) -> Result<Props, Fault> {
    Props::parse(item, limits).map_err(invalid_value)
}

/// The fields `set` and `remove` of `map`.
pub(super) fn read_patch(map: &[u8], limits: &ValueLimits) -> Result<PropsPatch, Fault> {
    let [set, remove] = fields(map, &["set", "remove"])?;
    let key = |key| PropKey::new(key, limits).map_err(invalid_value);
    let mut patch = Vec::new();
    if let Some(set) = set {
        entries(set, |name, value| {
            patch.push((key(name)?, Some(Value::parse(value, limits).map_err(invalid_value)?)));
            Ok(())
        })?;
    }
    if let Some(remove) = remove {
        items(remove, |name| {
            patch.push((key(text(name)?)?, None));
            Ok::<_, Fault>(())
        })?;
    }
    PropsPatch::new(patch).map_err(invalid_value)
}

/// How many of `set` and `remove` there are.
pub(super) fn patch_fields(patch: &PropsPatch) -> usize {
    let sets = patch.entries().iter().any(|(_, value)| value.is_some());
    let removes = patch.entries().iter().any(|(_, value)| value.is_none());
    usize::from(sets) + usize::from(removes)
}

/// Writes `set`, if there is something to set.
pub(super) fn write_set(patch: &PropsPatch, out: &mut Out) {
    let set = || patch.entries().iter().filter_map(|(k, v)| Some((k, v.as_ref()?)));
    if set().next().is_some() {
        out.text("set").map(set().count());
        set().for_each(|(key, value)| {
            out.text(key.as_str()).encoded(value.as_bytes());
        });
    }
}

/// Writes `remove`, if there is something to remove.
pub(super) fn write_remove(patch: &PropsPatch, out: &mut Out) {
    let removed = || patch.entries().iter().filter(|(_, v)| v.is_none());
    if removed().next().is_some() {
        out.text("remove").array(removed().count());
        removed().for_each(|(key, _)| {
            out.text(key.as_str());
        });
    }
}

fn invalid_value(error: InvalidValue) -> Fault {
    let reason = match error {
        InvalidValue::Malformed => "not a value that a property can hold, or a key twice",
        InvalidValue::TooLarge => "a value is too large or too deep",
        InvalidValue::Key => "a property's key is empty or too long",
        InvalidValue::PropsTooLarge => "the properties are too large",
    };
    Fault { code: error.into(), reason }
}
