"""The copy of a brane."""

import hashlib
import uuid
from dataclasses import dataclass

from .wire import canonical, records

KINDS = {"group": 0, "block": 1}


class Broken(Exception):
    """The copy cannot follow: it has to be fetched anew."""


@dataclass
class Object:
    id: str
    parent: int
    kind: str
    owner: str
    transform: bytes
    props: dict


class Replica:
    """Objects by handle, at a position of the log. `view` says of which part
    of the brane; without it, of all."""

    def __init__(self):
        self.objects = {}
        self.epoch = 0
        self.seq = 0
        self.view = None
        self._digests = {}

    def load(self, parts, whole, view=None):
        """Takes the parts of a snapshot (`whole`, of this view) or of a diff,
        all of them."""
        if whole:
            self.objects.clear()
            self._digests.clear()
            self.view = view
        for part in parts:
            for fields in part["objects"]:
                self._put(fields)
            for handle in part.get("gone", ()):
                self._remove(handle)
        self.epoch, self.seq = parts[-1]["at"]

    def show(self, parts):
        """Takes the parts of a `brane.view`, all of them: the copy is of
        another view then."""
        epoch, seq = parts[-1]["at"]
        if self.view is None or seq < self.seq or epoch < self.epoch:
            raise Broken(f"at {self.epoch}.{self.seq}, got a view at {epoch}.{seq}")
        self._drop({handle for part in parts for handle in part.get("gone", ())})
        for part in parts:
            for fields in part["objects"]:
                self._put(fields)
        self.epoch, self.seq = epoch, seq
        self.view = parts[-1]["view"]

    def apply(self, window):
        """Takes an `entity.update`. Gives (seq, handle) of all that changed;
        nothing where the copy is of a part, which is never mended."""
        if window["from"] != self.seq or window["epoch"] < self.epoch:
            raise Broken(f"at {self.epoch}.{self.seq}, got a window from {window['from']}")
        if ("cells" in window) != (self.view is not None):
            raise Broken("a window of something else than the copy is of")
        if self.view is not None:
            self._apply_cells(window)
            return []
        touched = []
        for item in window["log"]:
            if isinstance(item, int):
                self.seq += item
            elif isinstance(item, bytes):
                for handle, moved in records(item):
                    self.seq += 1
                    self._move(handle, moved)
                    touched.append((self.seq, handle))
            else:
                self.seq += 1
                for change in item["changes"]:
                    touched.extend((self.seq, handle) for handle in self._change(change))
        if self.seq != window["to"]:
            raise Broken(f"a log up to {window['to']} ended at {self.seq}")
        self.epoch = window["epoch"]
        return touched

    def _apply_cells(self, window):
        for item in (item for cell in window["cells"] for item in cell):
            if isinstance(item, bytes):
                for handle, moved in records(item):
                    self._move(handle, moved)
            else:
                for change in item["changes"]:
                    self._change(change)
        self._drop(set(window.get("left", ())))
        for fields in window.get("entered", ()):
            self._put(fields)
        self.epoch, self.seq = window["epoch"], window["to"]

    def find(self, id):
        """The handle of an id, or None."""
        return next((h for h, o in self.objects.items() if o.id == id), None)

    def in_effect(self, handle):
        """The properties of an object: its own and, where the brane follows its
        prototype, the defaults."""
        own = self.objects[handle].props
        root = self.objects[0].props if 0 in self.objects else {}
        return in_effect(root, own)

    def digests(self):
        """What each object adds to the state hash, by handle."""
        for handle, object in self.objects.items():
            if handle not in self._digests:
                self._digests[handle] = int.from_bytes(digest(handle, object), "little")
        return self._digests

    def state_hash(self):
        return (sum(self.digests().values()) % 2**128).to_bytes(16, "little")

    def _change(self, change):
        kind = change["change"]
        if kind == "created":
            return [self._put(change)]
        if kind == "updated":
            object = self._touch(change["handle"])
            object.props.update(change.get("set", {}))
            for key in change.get("remove", ()):
                object.props.pop(key, None)
            return [change["handle"]]
        if kind == "moved":
            ((handle, moved),) = records(change["m"])
            self._move(handle, moved)
            return [handle]
        if kind == "reparented":
            object = self._touch(change["handle"])
            object.parent, object.transform = change["parent"], change["transform"]
            return [change["handle"]]
        if kind == "deleted":
            for handle in change["handles"]:
                # Of what is deleted a view need not have shown all.
                if self.view is None:
                    self._touch(handle)
                self._remove(handle)
            return change["handles"]
        raise Broken(f"a change of an unknown kind: {kind}")

    def _put(self, fields):
        names = ("id", "parent", "kind", "owner", "transform", "props")
        self._remove(fields["handle"])
        self.objects[fields["handle"]] = Object(**{name: fields[name] for name in names})
        return fields["handle"]

    def _move(self, handle, moved):
        object = self._touch(handle)
        packed = bytearray(object.transform)
        for place, part in moved:
            packed[place] = part
        object.transform = bytes(packed)

    def _touch(self, handle):
        self._digests.pop(handle, None)
        if handle not in self.objects:
            raise Broken(f"a change of handle {handle}, which is not there")
        return self.objects[handle]

    def _drop(self, tops):
        """Removes these objects, if they are there, and all under them."""

        def is_under(handle):
            while handle not in tops:
                if handle == 0 or handle not in self.objects:
                    return False
                handle = self.objects[handle].parent
            return True

        for handle in [handle for handle in self.objects if tops and is_under(handle)]:
            self._remove(handle)

    def _remove(self, handle):
        self._digests.pop(handle, None)
        self.objects.pop(handle, None)


def in_effect(root, own):
    """The properties of an object that has `own`, where the root has `root`."""
    prototype = own.get("prototype")
    followed = root.get(f"prototype:{prototype}") if isinstance(prototype, str) else None
    return {**followed["defaults"], **own} if followed else own


def digest(handle, object):
    """What an object adds to the state hash."""
    data = (
        handle.to_bytes(4, "little")
        + uuid.UUID(object.id).bytes
        + object.parent.to_bytes(4, "little")
        + bytes([KINDS[object.kind]])
        + uuid.UUID(object.owner).bytes
        + object.transform
        + canonical(object.props)
    )
    return hashlib.blake2b(data, digest_size=16).digest()
