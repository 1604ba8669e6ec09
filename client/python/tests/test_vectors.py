"""The client against the golden vectors. Offline: python -m unittest discover tests"""

import asyncio
import json
import math
import pathlib
import sys
import unittest

import cbor2

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from avvyland_client import Brane, Broken, Object, People, Replica, areas, wire
from avvyland_client.replica import digest, in_effect

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

    def test_instances_have_the_defaults_that_they_do_not_override(self):
        for vector in load("prototypes.json"):
            with self.subTest(name=vector["name"]):
                found = in_effect(vector["root"], vector["own"])
                self.assertTrue(same(found, vector["in_effect"]))

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


class Areas(unittest.TestCase):
    """Copies of what is near."""

    VIEW = [-1, 0, 0, 3, 160_000]

    def setUp(self):
        self.messages = {
            v["name"]: cbor2.loads(bytes.fromhex(v["hex"])) for v in load("server.json")
        }

    def copy(self, *more):
        """Of the root, block 17, and these: (handle, parent)."""
        replica = Replica()
        part = self.messages["brane.snapshot, first part"]
        like = part["objects"][1]
        objects = [{**like, "handle": handle, "parent": parent} for handle, parent in more]
        part = {**part, "objects": [*part["objects"], *objects]}
        replica.load([part], whole=True, view=self.VIEW)
        return replica

    def test_the_view_of_an_area(self):
        self.assertEqual(areas.view_of(areas.area((-12.5, 0, 3.25), 30), 160_000), self.VIEW)
        for radius, reach in ((0, 1), (8, 1), (8.0001, 2), (24, 2), (24.0001, 3)):
            with self.subTest(radius=radius):
                view = areas.view_of(areas.area((-0.0001, 0, 16), radius), 160_000)
                self.assertEqual(view, [-1, 0, 1, reach, 160_000])

    def test_a_view_is_round(self):
        shown = lambda reach, cell: areas.sees([5, 5, 5, reach, 1], cell)
        self.assertTrue(all(shown(1, c) for c in ((5, 5, 5), (4, 6, 5), (4, 4, 4))))
        self.assertFalse(any(shown(1, c) for c in ((7, 5, 5), (5, 3, 5))))
        self.assertTrue(shown(2, (7, 7, 7)), "1 + 1 + 1 < 4")
        self.assertFalse(shown(2, (8, 5, 5)), "4 is not less than 4")
        self.assertTrue(shown(1, None), "the layer is in every view")

    def test_what_is_in_an_object_is_at_home_where_it_is(self):
        replica = self.copy((5, 0), (6, 5), (7, 6), (8, 0))
        replica.objects[5].transform = wire.pack_transform((15.9999, -0.0001, 0))
        replica.objects[6].transform = wire.pack_transform((100, 0, 0))
        replica.objects[8].props = {"extent": 9}
        home = lambda handle: areas.home(replica.objects, handle, 160_000)
        self.assertEqual([home(handle) for handle in (5, 6, 7)], [(0, -1, 0)] * 3)
        self.assertEqual([home(handle) for handle in (0, 8)], [None, None])
        for extent in (8, 8.0, True, "9", -1):
            replica.objects[8].props = {"extent": extent}
            self.assertIsNotNone(home(8), extent)
        seen = areas.within(replica.objects, [3, 0, 0, 1, 160_000])
        self.assertEqual(sorted(seen), [0])

    def test_objects_leave_and_enter(self):
        replica = self.copy((5, 0), (6, 5), (7, 6), (9, 17), (2, 0))
        self.assertEqual(replica.apply(self.messages["an area: one object leaves, one enters"]), [])
        self.assertEqual(sorted(replica.objects), [0, 2, 9, 17, 300])
        self.assertEqual((replica.epoch, replica.seq), (3, 70_012))
        # The same window again does not join.
        with self.assertRaises(Broken):
            replica.apply(self.messages["an area: nothing to show"])

    def test_cells_are_applied_in_any_number(self):
        replica = self.copy((1, 0), (2, 0))
        before = replica.objects[1].transform
        replica.objects[1].transform = wire.IDENTITY
        # It deletes handle 9, which was never shown here.
        replica.apply(self.messages["an area: two cells"])
        self.assertEqual(replica.objects[1].transform[:18], before[:18])
        replica = self.copy()
        replica.apply(self.messages["an area: nothing to show"])
        self.assertEqual((sorted(replica.objects), replica.seq), ([0, 17], 70_012))

    def test_a_step_to_another_view(self):
        replica = self.copy((5, 0), (6, 5))
        step = {**self.messages["brane.view, the only part"], "view": [-1, 0, 0, 4, 160_000]}
        first = {**step, "last": False, "objects": []}
        replica.show([first, {**step, "index": 1, "gone": []}])
        self.assertEqual((sorted(replica.objects), replica.view), ([0, 17], step["view"]))
        replica.seq += 1
        with self.assertRaises(Broken):
            replica.show([step])

    def test_windows_of_a_part_and_of_everything_are_told_apart(self):
        with self.assertRaises(Broken):
            self.copy().apply(self.messages["an empty window"])
        replica = Replica()
        replica.load([self.messages["brane.snapshot, first part"]], whole=True)
        with self.assertRaises(Broken):
            replica.apply(self.messages["an area: nothing to show"])
        with self.assertRaises(Broken):
            replica.show([self.messages["brane.view, the only part"]])

    def test_joins_say_what_is_to_be_seen(self):
        said = {v["name"]: v["hex"] for v in load("client.json")}
        id, client = "b0b0b0b0-b0b0-40b0-b0b0-b0b0b0b0b0b0", "c1c1c1c1-c1c1-41c1-81c1-c1c1c1c1c1c1"
        brane = Brane(id, client, areas.area((-12.5, 0, 3.25), 30))
        brane.known = True
        join = lambda: wire.canonical(brane.join_message(524_288)).hex()
        self.assertEqual(join(), said["brane.join with an area"])
        brane.replica = self.copy()
        self.assertEqual(join(), said["brane.join with an area and its copy"])

    def test_looking_is_a_message(self):
        said = {v["name"]: v["content"] for v in load("client.json")}

        async def looks(wanted):
            sent = []
            session = type("Session", (), {"send": staticmethod(sent.append)})
            brane = Brane("b0b0b0b0-b0b0-40b0-b0b0-b0b0b0b0b0b0")
            brane.look(areas.area((0, 0, 0), 1))
            brane.join_message(524_288)
            joined = self.messages["brane.joined, of an area"]
            brane.on_joined(session, joined, answers_join=False)
            self.assertEqual(sent, [], "before it is joined, the join says it")
            brane.look(wanted)
            self.assertFalse(brane.sees_area)
            return sent

        area = areas.area((-12.5, 0, 3.25), 30)
        self.assertEqual(asyncio.run(looks(area)), [said["brane.view"]])
        self.assertEqual(asyncio.run(looks(None)), [said["brane.view of everything"]])


if __name__ == "__main__":
    unittest.main()
