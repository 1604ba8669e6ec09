"""Walkers who make it hard for the server: they go back and forth over borders,
jump, see everything and a part in turn, stop reading, leave, are cut off and
come back, while builders move, hang and delete whatever there is. After every
message each walker's copy is compared with the part of a whole copy that it is
of. Exits non-zero when one is not the same.

    python tests/walkers.py --url ws://127.0.0.1:7878/ws --token T --brane B
"""

import argparse
import asyncio
import pathlib
import random
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from avvyland_client import (
    Brane, Session, area, batch, create, delete, move, reparent, update
)
from avvyland_client.areas import home, sees
from avvyland_client.wire import pack_transform

# The edge of a cell in units of 0.1 mm, and how far out things are, in metres.
SIZE = 160_000
SPAN = 60
EXTENTS = [2, 7.9, 8.1, 30, 2**40, float("inf"), float("nan"), -1]


class Compared:
    """What the whole copy was after each window, and what waits for that."""

    def __init__(self):
        self.states = {}
        self.waiting = []
        self.count = 0

    def whole(self, replica):
        homes = {handle: home(replica.objects, handle, SIZE) for handle in replica.objects}
        self.states[replica.epoch, replica.seq] = (dict(replica.digests()), homes)
        at = (replica.epoch, replica.seq)
        due = [part for part in self.waiting if part[0] <= at]
        self.waiting = [part for part in self.waiting if part[0] > at]
        for part in due:
            self.compare(*part)

    def part(self, name, replica):
        at = (replica.epoch, replica.seq)
        part = (at, name, replica.view, dict(replica.digests()))
        self.compare(*part) if at in self.states else self.waiting.append(part)

    def compare(self, at, name, view, shown):
        # One that reads several windows as one passes over the others.
        if at not in self.states:
            return
        digests, homes = self.states[at]
        expected = {h: d for h, d in digests.items() if sees(view, homes[h])}
        differ = sorted(h for h, _ in shown.items() ^ expected.items())
        assert not differ, f"{name} at {at} with {view}: {differ} differ"
        self.count += 1


class Watched(Brane):
    """Has its copy compared after every message that changes it."""

    def __init__(self, compared, name, id, area=None):
        super().__init__(id, area=area)
        self.compared, self.name = compared, name

    def _changed(self):
        if self._parts is None and not self._step and self.replica is not None:
            if self.replica.view is not None:
                self.compared.part(self.name, self.replica)
            elif self.name == "whole":
                self.compared.whole(self.replica)

    def on_snapshot(self, message):
        super().on_snapshot(message)
        self._changed()

    def on_view(self, message):
        super().on_view(message)
        self._changed()

    def on_window(self, message):
        super().on_window(message)
        self._changed()


async def watched(url, token):
    """A connection for such branes."""
    session = await Session.connect(url, token)
    session.OF_BRANES = {
        **Session.OF_BRANES,
        "brane.snapshot": Watched.on_snapshot,
        "brane.view": Watched.on_view,
        "entity.update": Watched.on_window,
    }
    return session


def place(draw):
    return tuple(draw.choice([-16.0, 0.0, 16.0, draw.uniform(-SPAN, SPAN)]) for _ in range(3))


def operation(draw, objects):
    """Something that may be done, or is refused."""
    handles = [handle for handle in objects if handle]
    groups = [0, 0] + [handle for handle in handles if objects[handle].kind == "group"]
    kinds = ["create", "move", "move", "move", "hang", "hang", "extent", "delete"]
    kind = draw.choice(kinds[: 8 if len(handles) > 150 else 7])
    if not handles or kind == "create":
        props = {"extent": draw.choice(EXTENTS)} if draw.random() < 0.2 else {}
        return create(
            draw.choice(groups),
            draw.choice(["group", "block"]),
            transform=pack_transform(place(draw)),
            props=props,
        )
    one = draw.choice(handles)
    if kind == "move":
        return move(one, position=place(draw))
    if kind == "hang":
        to = pack_transform(place(draw)) if draw.random() < 0.5 else None
        return reparent(one, draw.choice(groups), to)
    if kind == "extent":
        if draw.random() < 0.3:
            return update(one, {}, ["extent"])
        return update(one, {"extent": draw.choice(EXTENTS)})
    return delete(one, draw.choice(["subtree", "keep_children", "keep_children"]))


async def builds(draw, brane, edits):
    for _ in range(edits):
        one = operation(draw, brane.replica.objects)
        if draw.random() < 0.3:
            more = [operation(draw, brane.replica.objects) for _ in range(draw.randrange(1, 6))]
            one = batch(one, *more)
        edit = await brane.submit(one)
        if draw.random() < 0.2:
            await brane.until(lambda: edit.settled)


class Walker:
    def __init__(self, draw, connect, whole, brane):
        self.draw, self.connect, self.whole, self.brane = draw, connect, whole, brane
        self.at = [0.0, 0.0, 0.0]
        self.session = None

    async def come(self):
        self.session = await self.connect()
        await self.session.join(self.brane)

    async def goes_on(self, edits, building):
        """Until the world is so many edits further, or nobody builds any more."""
        goal = self.whole.replica.seq + edits
        news = asyncio.ensure_future(self.whole.until(lambda: self.whole.replica.seq >= goal, 120))
        await asyncio.wait([news, building], return_when=asyncio.FIRST_COMPLETED)
        news.cancel()

    async def act(self, building):
        draw, brane = self.draw, self.brane
        kind = draw.choices(["step", "jump", "whole", "stop", "leave", "cut"], [60, 20, 4, 8, 3, 5])[0]
        if kind == "step":
            steps = [draw.choice([-1, 1]) * draw.choice([1, 8, 16]) for _ in range(3)]
            self.at = [max(-SPAN, min(SPAN, a + b)) for a, b in zip(self.at, steps)]
            brane.look(area(self.at, draw.choice([0, 5, 20])))
        elif kind == "jump":
            brane.look(area(place(draw), draw.choice([0, 10, 40, 400])))
        elif kind == "whole":
            brane.look(None)
        elif kind == "stop":
            self.session.stop_reading()
            await self.goes_on(40, building)
            self.session.stop_reading(False)
        elif kind == "leave":
            await brane.leave()
            await self.session.close()
            await self.come()
        else:
            await self.session.cut()
            await self.goes_on(draw.choice([0, 20, 200]), building)
            if draw.random() < 0.3:
                brane.area = area(place(draw), 10)
            await self.come()
        assert not self.session.errors, self.session.errors

    async def walk(self, building):
        await self.come()
        while not building.done():
            await self.act(building)
            await self.goes_on(self.draw.randrange(8), building)
        self.brane.look(area(self.at, 20))


async def run(url, token, id, seed, edits):
    compared = Compared()
    connect = lambda: watched(url, token)
    whole = Watched(compared, "whole", id)
    await (await connect()).join(whole)
    await whole.until(lambda: whole.up_to_date)
    builders = []
    for n in range(2):
        builder = Brane(id)
        await (await Session.connect(url, token)).join(builder)
        await builder.until(lambda: builder.up_to_date)
        builders.append(builds(random.Random(f"builder {n} of {seed}"), builder, edits))
    building = asyncio.ensure_future(asyncio.gather(*builders))
    walkers = []
    for n in range(5):
        draw = random.Random(f"walker {n} of {seed}")
        brane = Watched(compared, f"walker {n}", id, area(place(draw), 10))
        walkers.append(Walker(draw, connect, whole, brane))
    await asyncio.gather(building, *(walker.walk(building) for walker in walkers))
    for walker in walkers:
        # Where nothing happens one hears of the head within a second or so.
        brane = walker.brane
        await brane.until(lambda: brane.sees_area and brane.replica.seq >= whole.replica.seq)
        assert brane.replica.seq == whole.replica.seq, "nobody builds any more"
        compared.part(walker.brane.name, brane.replica)
        assert not walker.session.errors, walker.session.errors
    assert not compared.waiting, "the whole copy has seen every position"
    return compared.count


def main():
    parser = argparse.ArgumentParser()
    for name in ("--url", "--token", "--brane"):
        parser.add_argument(name, required=True)
    parser.add_argument("--seed", default="1")
    parser.add_argument("--edits", type=int, default=400)
    options = parser.parse_args()
    count = asyncio.run(
        run(options.url, options.token, options.brane, options.seed, options.edits)
    )
    assert count > options.edits, f"only {count} copies were compared"
    print(f"{count} copies were compared")


if __name__ == "__main__":
    main()
