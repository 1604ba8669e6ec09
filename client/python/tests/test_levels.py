"""How much a session is sent, as the server tells it. Offline."""

import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from avvyland_client import Brane, Session
from avvyland_client.replica import Replica

CHANNEL = 5


class Levels(unittest.TestCase):
    def setUp(self):
        self.session, self.brane = Session.__new__(Session), Brane("b")
        self.session._branes = {CHANNEL: self.brane}
        self.brane.replica = Replica()

    def join(self, answers_join):
        joined = {"ch": CHANNEL, "role": "owner", "catch_up": "replay", "client_memory_s": 9}
        self.brane.on_joined(self.session, {**joined, "head": [1, 0], "durable": 0}, answers_join)

    def told(self, level, reason):
        message = {"event": "brane.level", "ch": CHANNEL, "level": level, "reason": reason}
        self.session._on_message(message)
        self.assertEqual((self.brane.level, self.brane.level_reason), (level, reason))

    def test_a_level_is_kept_as_it_is_told_and_begins_at_full_with_each_join(self):
        self.join(True)
        self.assertEqual((self.brane.level, self.brane.level_reason), ("full", None))
        for level, reason in [("no_presence", "bytes"), ("near", "age"), ("full", "recovered")]:
            self.told(level, reason)
        self.told("resync", "age")
        self.join(False)
        self.assertEqual(self.brane.level, "resync", "it was no join of its own")
        self.join(True)
        self.assertEqual((self.brane.level, self.brane.level_reason), ("full", None))

    def test_who_waits_for_a_brane_hears_of_its_level(self):
        self.join(True)
        self.brane._news.clear()
        news = self.brane._news
        self.told("collapsed", "bytes")
        self.assertTrue(news.is_set())


if __name__ == "__main__":
    unittest.main()
