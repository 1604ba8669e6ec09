"""A client of Avvyland, after protocol/PROTOCOL.md."""

from .areas import area, view_of, within
from .brane import Brane, Edit
from .fleet import join_anywhere, websocket_url
from .people import People
from .replica import Broken, Object, Replica
from .session import Closed, Downgrade, Refused, Session
from .wire import (
    IDENTITY,
    batch,
    canonical,
    create,
    delete,
    move,
    pack_rotation,
    pack_transform,
    reparent,
    update,
)

__all__ = [
    "Brane",
    "Broken",
    "Closed",
    "Downgrade",
    "Edit",
    "IDENTITY",
    "Object",
    "People",
    "Refused",
    "Replica",
    "Session",
    "area",
    "batch",
    "canonical",
    "create",
    "delete",
    "join_anywhere",
    "move",
    "pack_rotation",
    "pack_transform",
    "reparent",
    "update",
    "view_of",
    "websocket_url",
    "within",
]
