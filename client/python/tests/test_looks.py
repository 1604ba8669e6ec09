"""What a brane tells the server of what is to be seen, and when. Offline, on a
clock that stands still until it is set."""

import asyncio
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from avvyland_client import Brane, area
from avvyland_client.brane import LOOK_INTERVAL_S
from avvyland_client.replica import Replica

SIZE = 160_000


def far(cells):
    return area((16 * cells, 0, 0), 1)


class Line:
    """Takes what is sent."""

    max_edits_in_flight = 1

    def __init__(self):
        self.sent = []

    def send(self, message):
        self.sent.append(message)

    def looks(self):
        sent, self.sent = self.sent, []
        return [m.get("area") for m in sent if m["op"] == "brane.view"]


class Looks(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self):
        self.now = 1_000.0
        loop = asyncio.get_running_loop()
        loop.time, loop.slow_callback_duration = lambda: self.now, 1_000
        self.brane, self.line = Brane("b", area=far(0)), Line()
        self.join()

    def join(self):
        self.brane.join_message(1 << 20)
        joined = {"ch": 5, "role": "owner", "catch_up": "replay", "client_memory_s": 9}
        self.brane.replica = self.brane.replica or Replica()
        self.brane.replica.view = [0, 0, 0, 1, SIZE]
        self.brane.on_joined(self.line, {**joined, "head": [1, 0], "durable": 0}, True)

    async def wait(self, seconds):
        self.now += seconds
        for _ in range(3):
            await asyncio.sleep(0)

    async def test_of_looks_that_come_too_soon_the_last_one_counts(self):
        for cells in range(2, 20):
            self.brane.look(far(cells))
        self.assertEqual(self.line.looks(), [far(2)])
        await self.wait(LOOK_INTERVAL_S / 2)
        self.assertEqual(self.line.looks(), [])
        await self.wait(LOOK_INTERVAL_S)
        self.assertEqual(self.line.looks(), [far(19)])

    async def test_a_step_within_the_view_need_not_be_said(self):
        near = area((15.9, 0, 0), 1)
        self.brane.look(near)
        self.assertEqual(self.line.looks(), [])
        self.assertEqual(self.brane.join_message(1 << 20)["area"], near)

    async def test_a_look_that_was_refused_is_said_again_as_it_is_by_then(self):
        self.brane.look(far(2))
        self.line.looks()
        self.brane.on_look_refused(700)
        await self.wait(0.4)
        self.brane.look(far(9))
        await self.wait(0.2)
        self.assertEqual(self.line.looks(), [])
        await self.wait(0.2)
        self.assertEqual(self.line.looks(), [far(9)])
        await self.wait(1.0)
        self.assertEqual(self.line.looks(), [])

    async def test_who_walks_while_a_join_is_under_way_says_so_after_it(self):
        self.brane.on_gone()
        self.brane.join_message(1 << 20)
        self.brane.look(far(3))
        self.assertEqual(self.line.looks(), [])
        joined = {"ch": 6, "role": "owner", "catch_up": "replay", "client_memory_s": 9}
        self.brane.on_joined(self.line, {**joined, "head": [2, 0], "durable": 0}, True)
        self.assertEqual(self.line.looks(), [far(3)])


if __name__ == "__main__":
    unittest.main()
