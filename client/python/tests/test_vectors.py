"""The client against the golden vectors. Offline: python -m unittest discover tests"""

import json
import math
import pathlib
import sys
import unittest

import cbor2

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from avvyland_client import Object, People, Replica, wire
from avvyland_client.replica import digest

VECTORS = HERE.parents[2] / "protocol" / "vectors"


def load(name):
    return json.loads((VECTORS / name).read_text())["vectors"]


def to_json(value):
    """The JSON form of PROTOCOL.md."""
    if isinstance(value, cbor2.CBORTag):
        assert value.tag == wire.ASSET_TAG
        return {"$asset": value.value.hex()}
    if isinstance(value, bytes):
        return {"$bytes": value.hex()}
    if isinstance(value, float) and not math.isfinite(value):
        return {"$float": "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"}
    if isinstance(value, int) and not isinstance(value, bool) and value < -(2**63):
        return {"$int": str(value)}
    if isinstance(value, list):
        return [to_json(item) for item in value]
    if isinstance(value, dict):
        entries = {key: to_json(item) for key, item in value.items()}
        if len(entries) == 1 and next(iter(entries)).startswith("$"):
            return {"$map": entries}
        return entries
    return value


def same(a, b):
    """Equality that tells 1 from 1.0 and from true, as CBOR does."""
    return json.dumps(a, sort_keys=True) == json.dumps(b, sort_keys=True)


class Messages(unittest.TestCase):
    def test_messages_say_what_is_stated(self):
        for file in ("client.json", "client_forms.json", "server.json"):
            for vector in load(file):
                with self.subTest(file=file, name=vector["name"]):
                    message = cbor2.loads(bytes.fromhex(vector["hex"]))
                    self.assertTrue(same(to_json(message), vector["content"]))

    def test_messages_come_back_in_the_same_bytes(self):
        for file in ("client.json", "server.json"):
            for vector in load(file):
                with self.subTest(file=file, name=vector["name"]):
                    data = bytes.fromhex(vector["hex"])
                    self.assertEqual(wire.canonical(cbor2.loads(data)), data)

    def test_bodies_in_both_forms(self):
        for vector in load("rest.json"):
            with self.subTest(name=vector["name"]):
                body = cbor2.loads(bytes.fromhex(vector["hex"]))
                # A person may write 1 where the CBOR has 1.0.
                self.assertEqual(to_json(body), vector["json"])

    def test_operations_are_those_of_the_vectors(self):
        edits = {vector["name"]: vector["hex"] for vector in load("client.json")}
        half = math.sqrt(0.5)
        turned = {"position": (1.5, 0, -20.25), "rotation": (0, half, 0, half)}
        stretched = wire.pack_transform((0, 2, 0), scale=(2, 0.5, -1))
        id7 = "07070707-0707-4707-8707-070707070707"
        id2 = "02020202-0202-4202-8202-020202020202"
        cases = {
            "move of position and rotation": (5, wire.move(1000, **turned)),
            "move of position": (6, wire.move(1000, position=(1.5, 0, -20.25))),
            "move of rotation": (7, wire.move(1000, rotation=(0, half, 0, half))),
            "move of scale": (8, wire.move(1000, scale=(2, 0.5, -1))),
            "move by id": (10, wire.move(id7, **turned)),
            "update": (3, wire.update(17, {"name": "door", "open": True}, ["old"])),
            "reparent": (4, wire.reparent(id7, 2)),
            "reparent with a transform": (5, wire.reparent(7, id2, stretched)),
            "delete of a subtree": (6, wire.delete(7)),
            "delete that keeps the children": (7, wire.delete(id7, "keep_children")),
            "create of a group": (
                2,
                wire.create("09090909-0909-4909-8909-090909090909", "group", id=id7),
            ),
        }
        for name, (n, operation) in cases.items():
            with self.subTest(name=name):
                message = {"op": "object.update", "ch": 1, "edits": [{"n": n, **operation}]}
                self.assertEqual(wire.canonical(message).hex(), edits[name])


class Peoples(unittest.TestCase):
    def test_people_come_and_go(self):
        messages = {v["name"]: cbor2.loads(bytes.fromhex(v["hex"])) for v in load("server.json")}
        people = People()
        people.on_poses(messages["presence.poses"])
        self.assertEqual(people.avatars, {}, "not before the first page")
        self.assertIsNone(people.on_page(messages["people.page"]))
        self.assertEqual((people.you, sorted(people.people), people.whole), (2, [2, 7], True))
        self.assertIsNone(people.on_changed(messages["people.changed"]))
        self.assertEqual(sorted(people.people), [2, 7, 9])
        people.on_poses(messages["presence.poses with everything"])
        self.assertEqual(sorted(people.avatars), [7, 70_000])
        self.assertEqual(people.avatars[7][1], bytes([1, 2, 255]))
        self.assertEqual(people.avatars[7][0][:12], wire.pack_position((1.5, 0, -0.08)))
        self.assertEqual(people.on_changed(messages["people.changed, reset"]), {})
        self.assertEqual((people.people, people.avatars), ({}, {}))

    def test_a_list_has_several_pages(self):
        people = People()
        first = {"you": 1, "at": 5, "people": [{"person": 1, "user": "u"}], "next": 1}
        self.assertEqual(people.on_page(first), {"after": 1})
        self.assertFalse(people.whole)
        last = {"you": 1, "at": 6, "after": 1, "people": [{"person": 4, "user": "v"}]}
        self.assertIsNone(people.on_page(last))
        self.assertEqual((people.whole, people.people), (True, {1: "u", 4: "v"}))


class Worlds(unittest.TestCase):
    def test_transforms(self):
        for vector in load("transforms.json"):
            with self.subTest(name=vector["name"]):
                packed = bytes.fromhex(vector["packed"])
                made = wire.pack_transform(vector["position"], vector["rotation"], vector["scale"])
                self.assertEqual(made.hex(), packed.hex())
                _, quaternion, _ = wire.unpack_transform(packed)
                for ours, theirs in zip(quaternion, vector["quaternion"], strict=True):
                    self.assertAlmostEqual(ours, theirs, delta=1e-9)

    def test_values(self):
        for vector in load("values.json"):
            if "canonical" not in vector:
                continue
            with self.subTest(name=vector["name"]):
                value = cbor2.loads(bytes.fromhex(vector["hex"]))
                self.assertEqual(wire.canonical(value).hex(), vector["canonical"])
                self.assertTrue(same(to_json(value), vector["content"]))

    def test_state_hash(self):
        (world,) = load("state_hash.json")
        replica = Replica()
        for fields in world["objects"]:
            object = Object(
                id=fields["id"],
                parent=fields["parent"],
                kind=fields["kind"],
                owner=fields["owner"],
                transform=bytes.fromhex(fields["transform"]),
                props=cbor2.loads(bytes.fromhex(fields["props"]["hex"])),
            )
            self.assertEqual(digest(fields["handle"], object).hex(), fields["digest"])
            replica.objects[fields["handle"]] = object
        self.assertEqual(replica.state_hash().hex(), world["hash"])

    def test_a_copy_follows_windows(self):
        messages = {v["name"]: cbor2.loads(bytes.fromhex(v["hex"])) for v in load("server.json")}
        replica = Replica()
        replica.load([messages["brane.snapshot, first part"]], whole=True)
        self.assertEqual(sorted(replica.objects), [0, 17])
        self.assertEqual((replica.epoch, replica.seq), (3, 70_000))
        before = replica.state_hash()

        window = dict(messages["an update"])
        self.assertEqual(replica.apply(window), [(70_001, 17)])
        self.assertEqual(replica.objects[17].props["name"], "door")
        self.assertNotEqual(replica.state_hash(), before)
        with self.assertRaises(Exception):
            replica.apply(window)

        replica.load([messages["brane.snapshot, last part of a diff"]], whole=False)
        self.assertEqual(replica.seq, 70_000)
        self.assertEqual(sorted(replica.objects), [0, 17])
        replica.apply(messages["an empty window"])
        replica.apply(dict(messages["a re-parenting"]))
        self.assertEqual(replica.objects[17].parent, 2)


if __name__ == "__main__":
    unittest.main()
