"""Bytes: transforms, move records, operations, deterministic CBOR."""

import math
import struct
import uuid

import cbor2

ASSET_TAG = 4156001

POSITION, ROTATION, SCALE = 1, 2, 4
# Where each part lies in a packed transform.
SLICES = {POSITION: slice(0, 12), ROTATION: slice(12, 18), SCALE: slice(18, 30)}

ROTATION_ZERO = 16383
ROOT_HALF = math.sqrt(0.5)


def asset(sha3_256):
    """A reference to the asset with this hash."""
    return cbor2.CBORTag(ASSET_TAG, sha3_256)


def canonical(value):
    """The deterministic encoding of a property value, or of all properties."""
    return cbor2.dumps(value, canonical=True)


def _round(number):
    """Halves go away from zero; Python's round takes them to even numbers."""
    return int(math.copysign(math.floor(abs(number) + 0.5), number))


def pack_position(metres):
    return struct.pack("<3i", *(_round(m / 1e-4) for m in metres))


def pack_rotation(quaternion):
    """The 48 bits of a quaternion (x, y, z, w) of any length but 0."""
    length = math.sqrt(sum(c * c for c in quaternion))
    dropped = max(range(4), key=lambda i: (abs(quaternion[i]), -i))
    sign = -1.0 if quaternion[dropped] < 0 else 1.0
    bits = dropped << 45
    others = [c * sign / length for i, c in enumerate(quaternion) if i != dropped]
    for place, component in enumerate(others):
        unit = min(1.0, max(-1.0, component / ROOT_HALF))
        bits |= (_round(unit * ROTATION_ZERO) + ROTATION_ZERO) << 15 * place
    return bits.to_bytes(6, "little")


def unpack_rotation(packed):
    """The unit quaternion (x, y, z, w)."""
    bits = int.from_bytes(packed, "little")
    dropped = bits >> 45 & 3
    others = [((bits >> 15 * i & 0x7FFF) - ROTATION_ZERO) / ROTATION_ZERO * ROOT_HALF for i in range(3)]
    others.insert(dropped, math.sqrt(max(0.0, 1.0 - sum(c * c for c in others))))
    return others


def pack_transform(position=(0, 0, 0), rotation=(0, 0, 0, 1), scale=(1, 1, 1)):
    """The 30 bytes of metres, a quaternion and factors."""
    return pack_position(position) + pack_rotation(rotation) + struct.pack("<3f", *scale)


IDENTITY = pack_transform()


def unpack_transform(packed):
    """Metres, quaternion and factors."""
    units = struct.unpack("<3i", packed[SLICES[POSITION]])
    scale = struct.unpack("<3f", packed[SLICES[SCALE]])
    return [n * 1e-4 for n in units], unpack_rotation(packed[SLICES[ROTATION]]), list(scale)


def pack_parts(position=None, rotation=None, scale=None):
    """The second half of a move record: parts byte and what it names."""
    parts, packed = 0, b""
    if position is not None:
        parts, packed = parts | POSITION, packed + pack_position(position)
    if rotation is not None:
        parts, packed = parts | ROTATION, packed + pack_rotation(rotation)
    if scale is not None:
        parts, packed = parts | SCALE, packed + struct.pack("<3f", *scale)
    return bytes([parts]) + packed


def records(run):
    """The moves of a run of records: handle, and the parts with their bytes."""
    at = 0
    while at < len(run):
        handle, parts = struct.unpack_from("<IB", run, at)
        at += 5
        moved = []
        for part, place in SLICES.items():
            if parts & part:
                length = place.stop - place.start
                moved.append((place, run[at : at + length]))
                at += length
        if not moved or at > len(run):
            raise ValueError("not a move record")
        yield handle, moved


# Operations. A target or parent is a handle (int) or an id (text).


def create(parent, kind, id=None, transform=IDENTITY, props=None):
    id = id or str(uuid.uuid4())
    return {
        "op": "create",
        "id": id,
        "parent": parent,
        "kind": kind,
        "transform": transform,
        "props": props or {},
    }


def update(target, set=None, remove=None):
    operation = {"op": "update", "t": target}
    if set:
        operation["set"] = set
    if remove:
        operation["remove"] = list(remove)
    return operation


def move(target, position=None, rotation=None, scale=None):
    parts = pack_parts(position, rotation, scale)
    if isinstance(target, int):
        return {"op": "move", "m": struct.pack("<I", target) + parts}
    return {"op": "move", "m": parts, "t": target}


def reparent(target, parent, transform=None):
    operation = {"op": "reparent", "t": target, "parent": parent}
    if transform is not None:
        operation["transform"] = transform
    return operation


def delete(target, mode="subtree"):
    return {"op": "delete", "t": target, "mode": mode}


def batch(*operations):
    return {"op": "batch", "ops": list(operations)}
