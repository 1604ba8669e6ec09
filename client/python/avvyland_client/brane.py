"""One brane of one client, across connections."""

import asyncio
import time
import uuid
from dataclasses import dataclass

from .areas import view_of
from .people import People
from .replica import Broken, Replica
from .wire import pack_position, pack_rotation

# The server knows the outcomes of this many of a client's last numbers.
OUTCOMES_REMEMBERED = 256
MAX_TOUCHED = 65_536
# The pause between two changes of what is to be seen; of those that come
# sooner the last one counts.
LOOK_INTERVAL_S = 0.1
# What `brane.changed` says of a brane.
SAID = ("name", "description", "tags", "kind", "visibility", "version")


@dataclass
class Edit:
    """An own edit. `state` is `kept` (no outcome yet), `applied`, `durable`,
    `refused` or `unknown` (nobody can say; look at the copy)."""

    operation: dict
    n: int = 0
    state: str = "kept"
    seq: int = 0
    code: str = ""
    in_batch: int | None = None
    first_sent: float = 0.0

    @property
    def settled(self):
        return self.state in ("durable", "refused", "unknown")


class Brane:
    """Keeps the copy, and own edits until they are durable. A session drives
    it; when that is lost, join it on another one. With an `area` the copy is of
    what is near, and grows from there; `look` when that changes."""

    def __init__(self, id, client=None, area=None):
        self.id = id
        self.client = client or str(uuid.uuid4())
        self.area = area
        # What of that the server goes by, as far as is known.
        self._told = area
        self._told_unsure = False
        self._tell_at = 0.0
        self._timer = None
        self.known = False
        self.replica = None
        self.durable = 0
        self.role = None
        # What the server sends of all there is, and why that changed: see
        # `brane.level`.
        self.level, self.level_reason = "full", None
        self.catch_up = None
        self.rewinds = 0
        self.people = People()
        self._follows = False
        self.refused_join = None
        # What the brane is called and who may see it, once that has changed.
        self.said = None
        # The node where it goes on, and how long nobody may be there.
        self.moved_to = None
        self.moved_wait_s = 0.0
        # Whether whoever said so was reached over TLS.
        self.over_tls = False
        self._session = None
        self._channel = None
        self._client_memory_s = float("inf")
        self._head = 0
        self._parts = None
        self._view = None
        self._step = []
        self._next = 1
        self._kept = []
        # Handle -> seq of the last change above the watermark, and since
        # which seq that is complete.
        self._touched = {}
        self._touched_since = 0
        self._hash_wanted = None
        self._news = asyncio.Event()

    # For the user

    @property
    def joined(self):
        return self._channel is not None

    @property
    def up_to_date(self):
        """Whether the copy has reached what was the head at the join."""
        return self.joined and self._parts is None and self.replica.seq >= self._head

    @property
    def sees_area(self):
        """Whether the copy is of all that is to be seen."""
        if not self.up_to_date:
            return False
        view = self.replica.view
        if self.area is None or view is None:
            return self.area is view is None
        return view == view_of(self.area, view[4])

    async def until(self, condition, timeout=30.0):
        """Waits for a condition on the state of this brane."""
        async with asyncio.timeout(timeout):
            while not condition():
                await self._news.wait()

    async def submit(self, operation):
        """Sends an edit, now or after the next join. Waits while too many are
        under way."""
        limit = self._session.max_edits_in_flight if self._session else OUTCOMES_REMEMBERED
        limit = min(limit, OUTCOMES_REMEMBERED)
        if self.joined:
            await self.until(lambda: not self.joined or self._room(limit))
        edit = Edit(operation)
        self._kept.append(edit)
        if self.joined:
            self._send([edit])
        return edit

    async def hashes_agree(self):
        """Asks for the server's state hash until there is one for the position
        of the copy. Gives both."""
        while True:
            self._hash_wanted = []
            self._session.send({"op": "brane.hash", "ch": self._channel})
            await self.until(lambda: self._hash_wanted and self._compare() is not None)
            ours, theirs = self._compare()
            if ours is not None:
                return ours, theirs

    def look(self, area):
        """Wants to see this area from now on; None: the whole brane. The copy
        gets there step by step. Whoever walks says so as he goes."""
        self.area = area
        self._tell_area()

    def follow(self):
        """Follows who is there and where, now and after every join: `people`."""
        self._follows = True
        if self.joined:
            self._list({})

    def stand(self, position, rotation=(0, 0, 0, 1), state=b""):
        """The own avatar is here now; to be told anew after every join."""
        pose = pack_position(position) + pack_rotation(rotation)
        message = {"op": "presence.pose", "ch": self._channel, "pose": pose}
        self._session.send({**message, "state": state} if state else message)

    def signal(self, to, kind, body=None):
        """To `"all"`, `"near"` or the number of a person."""
        message = {"op": "signal.send", "ch": self._channel, "to": to, "kind": kind}
        self._session.send(message if body is None else {**message, "body": body})

    async def leave(self):
        self._session.send({"op": "brane.leave", "ch": self._channel})
        await self.until(lambda: not self.joined)

    # For the session

    def join_message(self, max_message_bytes):
        message = {"op": "brane.join", "brane": self.id, "client": self.client, "known": self.known}
        self._told, self._told_unsure = self.area, False
        if self.area:
            message["area"] = self.area
        if self.replica:
            message["resume_version"] = [self.replica.epoch, self.replica.seq]
            if self.replica.view is not None:
                return {**message, "resume_view": self.replica.view}
            # Complete only if every change above the watermark was counted.
            bound = min(MAX_TOUCHED, (max_message_bytes - 512) // 5)
            if self.durable >= self._touched_since and len(self._touched) <= bound:
                message["touched"] = sorted(self._touched)
        return message

    def on_joined(self, session, message, answers_join):
        self._session, self._channel = session, message["ch"]
        self.role, self.catch_up = message["role"], message["catch_up"]
        self._client_memory_s = message["client_memory_s"]
        self._head = message["head"][1]
        self._parts = None if self.catch_up == "replay" else []
        self._view, self._step = message.get("view"), []
        if answers_join:
            self.level, self.level_reason = "full", None
            # Outcomes are told again; those of the last connection may be of
            # a line that is no more.
            for edit in self._kept:
                edit.state = "kept"
            self._give_up_old()
            self._send(self._kept)
        if self._parts is None:
            self._on_watermark(message["durable"])
        else:
            # The copy may be past a fork: the watermark is not of its line.
            self.durable = max(self.durable, message["durable"])
        self._tell_area()
        if self._follows:
            self._list({})
        self._tell()

    def on_look_refused(self, retry_after_ms):
        """The server goes by what it was told before."""
        self._told_unsure = True
        self._tell_at = asyncio.get_running_loop().time() + retry_after_ms / 1000
        self._tell_area()

    def on_snapshot(self, message):
        if self._parts is None or message["index"] != len(self._parts):
            raise Broken("a snapshot part out of turn")
        self._parts.append(message)
        if message["last"]:
            self.replica = self.replica or Replica()
            self.replica.load(self._parts, self.catch_up == "snapshot", self._view)
            self._parts = None
            # What changed between the watermark and this is not known.
            self._touched, self._touched_since = {}, self.replica.seq
            self._on_watermark(self.durable)
        self._tell()

    def on_view(self, message):
        if self._parts is not None or message["index"] != len(self._step):
            raise Broken("a part of a view out of turn")
        self._step.append(message)
        if message["last"]:
            self.replica.show(self._step)
            self._step = []
        self._tell()

    def on_window(self, message):
        if self._parts is not None or self._step:
            raise Broken("a window amidst the parts of a snapshot or view")
        for seq, handle in self.replica.apply(message):
            self._touched[handle] = seq
        self._on_watermark(message["durable"])
        self._compare()
        self._tell()

    def on_version_complete(self, message):
        if self.replica.seq != message["version"][1]:
            raise Broken("a version complete where the copy is not")
        self._tell()

    def on_rewind(self, message):
        self.rewinds += 1
        self._tell()

    def on_applied(self, message):
        sent = {edit.n: edit for edit in self._kept if edit.n}
        for n, seq in message["edits"]:
            if n in sent:
                sent[n].state, sent[n].seq = "applied", seq
        self._settle()
        self._tell()

    def on_refused(self, message):
        for refusal in message["edits"]:
            code = refusal["code"]
            if code in ("not_joined", "client_unknown"):
                continue  # No outcomes; the next join sorts it out.
            for edit in [edit for edit in self._kept if edit.n == refusal["n"]]:
                edit.state = "unknown" if code == "outcome_unknown" else "refused"
                edit.code, edit.in_batch = code, refusal.get("operation")
        self._settle()
        self._tell()

    def on_durable(self, message):
        if self._parts is None:
            self._on_watermark(message["durable"][1])
        else:
            self.durable = max(self.durable, message["durable"][1])
        self._tell()

    def on_changed(self, message):
        self.said = {key: message[key] for key in SAID}
        self._tell()

    def on_level(self, message):
        self.level, self.level_reason = message["level"], message["reason"]
        self._tell()

    def on_hash(self, message):
        if self._hash_wanted is not None:
            self._hash_wanted = [message["at"][1], message["hash"], None]
            self._compare()
        self._tell()

    def on_people_page(self, message):
        self._list(self.people.on_page(message))
        self._tell()

    def on_people_changed(self, message):
        self._list(self.people.on_changed(message))
        self._tell()

    def on_poses(self, message):
        self.people.on_poses(message)
        self._tell()

    def on_signal(self, message):
        self.people.on_signal(message)
        self._tell()

    def on_gone(self, message=None):
        """The channel is closed (by this `brane.left`), or the connection is lost."""
        self._on_moved(message or {})
        self._channel = self._session = None
        self._tell_at = 0.0
        self.people.clear()
        self._tell()

    def on_join_refused(self, message):
        self.refused_join = code = message["code"]
        self._on_moved(message)
        if code == "client_unknown":
            # What was sent under the old name has no outcome any more.
            self.client, self.known, self._next = str(uuid.uuid4()), False, 1
            for edit in self._kept:
                edit.state = "unknown" if edit.n else "kept"
            self._kept = [edit for edit in self._kept if not edit.settled]
        self._tell()

    # Inner workings

    def _on_moved(self, message):
        if message.get("code") == "moved":
            self.moved_to = message.get("address")
            self.moved_wait_s = message.get("retry_after_ms", 0) / 1000

    def _tell_area(self):
        """Tells the server what is to be seen, if it goes by something else:
        not before `_tell_at`, and then what is true by then."""
        if not self.joined or self._knows_area():
            return
        loop = asyncio.get_running_loop()
        if loop.time() < self._tell_at:
            self._timer = self._timer or loop.call_at(self._tell_at, self._on_timer)
            return
        self._told, self._told_unsure = self.area, False
        self._tell_at = loop.time() + LOOK_INTERVAL_S
        message = {"op": "brane.view", "ch": self._channel}
        self._session.send({**message, "area": self.area} if self.area else message)

    def _on_timer(self):
        self._timer = None
        self._tell_area()

    def _knows_area(self):
        """Whether what the server was told comes to the same view."""
        if self._told_unsure or self.area == self._told:
            return not self._told_unsure
        view = self.replica and self.replica.view
        if not (view and self.area and self._told):
            return False
        return view_of(self.area, view[4]) == view_of(self._told, view[4])

    def _list(self, question):
        if question is not None:
            self._session.send({"op": "people.list", "ch": self._channel, **question})

    def _room(self, limit):
        waiting = sum(edit.state == "kept" for edit in self._kept)
        oldest = self._kept[0].n if self._kept and self._kept[0].n else self._next
        return waiting < limit and self._next - oldest < OUTCOMES_REMEMBERED

    def _send(self, edits):
        edits = list(edits)
        for edit in edits:
            if not edit.n:
                edit.n, self._next = self._next, self._next + 1
                edit.first_sent = time.time()
        for bite in self._bites(edits):
            wire = [{"n": edit.n, **edit.operation} for edit in bite]
            self._session.send({"op": "object.update", "ch": self._channel, "edits": wire})

    def _bites(self, edits):
        """Each within the server's bound on the operations of one message."""
        bite, operations = [], 0
        for edit in edits:
            count = len(edit.operation.get("ops", [edit]))
            if bite and (len(bite) == 64 or operations + count > self._session.max_edits_in_flight):
                yield bite
                bite, operations = [], 0
            bite.append(edit)
            operations += count
        if bite:
            yield bite

    def _give_up_old(self):
        oldest = time.time() - self._client_memory_s
        for edit in self._kept:
            if edit.n and edit.first_sent < oldest:
                edit.state = "unknown"
        self._kept = [edit for edit in self._kept if not edit.settled]

    def _on_watermark(self, durable):
        self.durable = max(self.durable, durable)
        self._touched = {h: seq for h, seq in self._touched.items() if seq > self.durable}
        self._settle()

    def _settle(self):
        for edit in self._kept:
            if edit.state == "applied" and edit.seq <= self.durable:
                edit.state = "durable"
                self.known = True
        self._kept = [edit for edit in self._kept if not edit.settled]

    def _compare(self):
        """Own and the server's hash, (None, None) when the copy has passed the
        server's position, None while it has not reached it."""
        if not self._hash_wanted or self._parts is not None:
            return None
        at, theirs, ours = self._hash_wanted
        if ours is None and self.replica.seq == at:
            self._hash_wanted[2] = ours = self.replica.state_hash()
        if ours is not None:
            return ours, theirs
        return (None, None) if self.replica.seq > at else None

    def _tell(self):
        self._news.set()
        self._news = asyncio.Event()
