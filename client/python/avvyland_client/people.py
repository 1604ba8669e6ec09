"""Who is in a brane, where they are, and what they say."""

import struct
from collections import deque

RECORD_BYTES = 22
# Signals that wait to be looked at; older ones are dropped.
SIGNALS_KEPT = 1_000


class People:
    """The people of one joined brane: `follow` it, and after every join anew.

    `people` has each person's user, `avatars` each one's packed pose and state."""

    def __init__(self):
        self.signals = deque(maxlen=SIGNALS_KEPT)
        self.clear()

    def clear(self):
        self.you = None
        self.whole = False
        self.people = {}
        self.avatars = {}
        self._at = None
        self._listed = None

    def on_page(self, message):
        """Gives the next question, if there is one: the fields of `people.list`."""
        if "after" not in message:
            self.clear()
            self.you, self._at = message["you"], message["at"]
        self._add(message["people"])
        if message.get("after") != self._listed:
            return None  # Of a list that was begun before.
        self._listed = message.get("next")
        self.whole = self._listed is None
        return None if self.whole else {"after": self._listed}

    def on_changed(self, message):
        """Gives the next question, if there is one."""
        begins_anew = message.get("reset", False)
        if self._at is None and not begins_anew:
            return None  # What came before the first page is in it.
        if begins_anew or message["from"] != self._at:
            self.clear()
            return {}
        self._at = message["to"]
        self._add(message["joined"])
        for person in message["left"]:
            self.people.pop(person, None)
        return None

    def on_poses(self, message):
        if self._at is None:
            return
        for person in message.get("away", []):
            self.avatars.pop(person, None)
        packed = message["poses"]
        for at in range(0, len(packed), RECORD_BYTES):
            (person,) = struct.unpack_from("<I", packed, at)
            _, state = self.avatars.get(person, (None, b""))
            self.avatars[person] = (packed[at + 4 : at + RECORD_BYTES], state)
        for person, state in message.get("states", []):
            if person in self.avatars:
                self.avatars[person] = (self.avatars[person][0], state)

    def on_signal(self, message):
        self.signals.append(message)

    def _add(self, people):
        for one in people:
            self.people[one["person"]] = one["user"]
