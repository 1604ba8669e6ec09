"""How a brane is found among nodes. Offline: the nodes are played."""

import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from avvyland_client import Brane, Downgrade, Refused, create, join_anywhere, websocket_url

JOINED = {"ch": 5, "role": "owner", "catch_up": "replay", "client_memory_s": 9}


class Line:
    """A session at a node that is played."""

    max_edits_in_flight = 9

    def __init__(self, node):
        self.node, self.sent = node, []

    def send(self, message):
        self.sent.append(message)

    async def close(self):
        self.node.visits.append("closed")

    async def join(self, brane):
        self.node.joins.append(brane.join_message(1 << 20))
        if self.node.sends_to:
            error = {"code": "moved", "message": "", "trace_id": "", **self.node.sends_to}
            brane.on_join_refused(error)
            raise Refused(error)
        brane.on_joined(self, {**JOINED, "head": [2, 0], "durable": 0}, True)


class Node:
    def __init__(self, sends_to=None, is_there=True):
        self.sends_to, self.is_there = sends_to, is_there
        self.joins, self.visits = [], []


class Fleet(unittest.IsolatedAsyncioTestCase):
    async def connect(self, url, token):
        node = self.nodes[url]
        node.visits.append(token)
        if not node.is_there:
            raise OSError("nobody is there")
        return Line(node)

    async def find(self, brane, addresses):
        return await join_anywhere(brane, addresses, "token", 10, self.connect)

    async def test_goes_where_it_is_sent(self):
        two = {"address": "http://two"}
        self.nodes = {"ws://one/ws": Node(sends_to=two), "ws://two/ws": Node()}
        addresses, brane = ["http://one"], Brane("b")
        session = await self.find(brane, addresses)
        self.assertIs(session.node, self.nodes["ws://two/ws"])
        self.assertEqual(self.nodes["ws://one/ws"].visits, ["token", "closed"])
        self.assertEqual(addresses, ["http://one", "http://two"])

    async def test_goes_on_with_its_edits_where_it_moved(self):
        self.nodes = {"ws://one/ws": Node(), "ws://two/ws": Node()}
        brane = Brane("b")
        await self.find(brane, ["http://one"])
        edit = await brane.submit(create(parent=0, kind="block", props={}))
        brane.on_gone({"ch": 5, "code": "moved", "address": "http://two"})
        session = await self.find(brane, ["http://one"])
        self.assertIs(session.node, self.nodes["ws://two/ws"])
        again = [m["edits"][0]["n"] for m in session.sent if m["op"] == "object.update"]
        self.assertEqual(again, [edit.n])

    async def test_goes_back_when_nobody_is_there(self):
        away = {"address": "https://two/", "retry_after_ms": 50}
        self.nodes = {"ws://one/ws": Node(sends_to=away), "wss://two/ws": Node(is_there=False)}
        brane = Brane("b")

        async def connect(url, token):
            if len(self.nodes["ws://one/ws"].joins) == 2:
                # By then the lease of the other is over.
                self.nodes["ws://one/ws"].sends_to = None
            return await self.connect(url, token)

        session = await join_anywhere(brane, ["http://one"], "token", 10, connect)
        self.assertIs(session.node, self.nodes["ws://one/ws"])
        self.assertEqual(len(self.nodes["ws://one/ws"].joins), 3)

    async def test_stays_with_tls(self):
        plain = {"address": "http://two"}
        self.nodes = {"wss://one/ws": Node(sends_to=plain), "ws://two/ws": Node()}
        addresses = ["https://one"]
        with self.assertRaises(Downgrade) as refused:
            await self.find(Brane("b"), addresses)
        self.assertEqual(refused.exception.address, "http://two")
        self.nodes["wss://one/ws"].sends_to = None
        brane = Brane("b")
        await self.find(brane, addresses)
        brane.on_gone({"ch": 5, "code": "moved", "address": "http://two"})
        with self.assertRaises(Downgrade):
            await self.find(brane, addresses)
        self.assertEqual((self.nodes["ws://two/ws"].visits, addresses), ([], ["https://one"]))

    def test_the_websocket_of_a_node(self):
        self.assertEqual(websocket_url("http://a:1"), "ws://a:1/ws")
        self.assertEqual(websocket_url("https://a/"), "wss://a/ws")
        self.assertEqual(websocket_url("ws://a/ws"), "ws://a/ws")


if __name__ == "__main__":
    unittest.main()
