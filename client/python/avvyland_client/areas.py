"""What a client sees that does not see everything: areas, cells and views."""

import struct

from .wire import POSITION, SLICES, pack_position

# The grid's unit of length, in metres.
UNIT_M = 1e-4


def area(at, radius):
    """All within `radius` metres of a place, as a client says it."""
    return {"at": [float(m) for m in at], "radius": float(radius)}


def cell(position, size):
    """The cell of a position; both in units of 0.1 mm."""
    return tuple(n // size for n in position)


def view_of(area, size):
    """The view of an area in a brane whose cells have this edge."""
    center = cell(struct.unpack("<3i", pack_position(area["at"])), size)
    radius = round(area["radius"] / UNIT_M)
    reach = max(1, -(-(radius + size // 2) // size))
    return [*center, reach, size]


def sees(view, home):
    """Whether a view shows what is at home there: in a cell, or, with None,
    in the layer."""
    if home is None:
        return True
    *center, reach, _ = view
    gaps = [max(0, abs(a - x) - 1) for a, x in zip(home, center, strict=True)]
    return sum(gap * gap for gap in gaps) < reach * reach


def home(objects, handle, size):
    """Where an object of a copy is at home: a cell, or None for the layer."""
    if handle == 0:
        return None
    while objects[handle].parent != 0:
        handle = objects[handle].parent
    top = objects[handle]
    extent = top.props.get("extent")
    if isinstance(extent, (int, float)) and not isinstance(extent, bool):
        if extent > size * UNIT_M / 2:
            return None
    return cell(struct.unpack("<3i", top.transform[SLICES[POSITION]]), size)


def within(objects, view):
    """What a view shows of the objects of a whole copy."""
    size = view[4]
    return {h: o for h, o in objects.items() if sees(view, home(objects, h, size))}
