"""One client's life against a running server: edits, a walk, a cut, a resume,
and equal state hashes at the end. Exits non-zero when anything is not as it must.

    python tests/scenario.py --url ws://127.0.0.1:7878/ws --token T --brane B
"""

import argparse
import asyncio
import json
import math
import pathlib
import sys
import uuid
from urllib.request import Request, urlopen

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from avvyland_client import (
    Brane, Refused, Session, area, batch, create, delete, move, reparent, update, within
)
from avvyland_client.replica import digest
from avvyland_client.wire import asset, pack_transform

checks = 0


def check(condition, what):
    global checks
    checks += 1
    if not condition:
        raise AssertionError(what)


async def all_durable(brane, edits, timeout):
    await brane.until(lambda: all(edit.settled for edit in edits), timeout)
    for edit in edits:
        check(edit.state == "durable", f"edit {edit.n} is {edit.state} {edit.code}: {edit.operation}")
    seqs = [edit.seq for edit in edits]
    check(seqs == sorted(set(seqs)), "edits of one client are applied once, in order")


async def refused(brane, operation, code, in_batch=None):
    edit = await brane.submit(operation)
    await brane.until(lambda: edit.settled)
    check((edit.state, edit.code) == ("refused", code), f"{edit.state} {edit.code}, not {code}")
    check(edit.in_batch == in_batch, f"refused for operation {edit.in_batch}")


async def build(brane, size):
    """A group with blocks in it, shaken about."""
    group = create(0, "group", props={"name": "scenario"})
    blocks = [
        create(
            group["id"],
            "block",
            transform=pack_transform((i, 0.5, -i), (0, math.sin(i), 0, math.cos(i)), (1, 1, 1)),
            props={"n": i, "model": asset(bytes([i % 256]) * 32), "weight": i / 10},
        )
        for i in range(size)
    ]
    edits = [await brane.submit(operation) for operation in [group, *blocks]]
    return group, blocks, edits


async def change(brane, group, blocks):
    """Every kind of operation. Gives the edits."""
    first, second, third, *rest = [block["id"] for block in blocks]
    inner = create(group["id"], "group", props={"name": "inner"})
    operations = [
        move(first, position=(1.23456, -2, 3e4)),
        move(first, rotation=(0.1, -0.2, 0.3, -0.9)),
        move(second, scale=(2, -0.5, 1)),
        # The same in numbers, quantised by the server.
        {"op": "move", "t": second, "position": [0.5, 1, 2], "rotation": [0, 0.6, 0, 0.8]},
        update(first, {"nested": {"bb": [1, 1.0, None], "a": -0.0}, "n": 2**63}, ["weight"]),
        update(second, {"text": "Ä" * 300, "data": bytes(range(256)), "nan": math.nan}),
        batch(inner, reparent(third, inner["id"]), move(third, position=(0, 0, 1))),
        reparent(rest[0], inner["id"], pack_transform((0, 1, 0))),
        delete(rest[1]),
        # Hands `third` and another one back to the group.
        delete(inner["id"], "keep_children"),
    ]
    return [await brane.submit(operation) for operation in operations]


async def refusals(brane, group):
    await refused(brane, delete(str(uuid.uuid4())), "object_not_found")
    await refused(brane, move(group["id"], scale=(0, 1, 1)), "out_of_range")
    await refused(brane, create(str(uuid.uuid4()), "block"), "parent_not_found")
    await refused(brane, {"op": "fly"}, "unknown_operation")
    await refused(brane, delete(0), "root_protected")
    unborn = create(group["id"], "block")
    await refused(brane, batch(unborn, reparent(group["id"], group["id"])), "cycle", in_batch=1)
    check(brane.replica.find(unborn["id"]) is None, "a refused batch leaves nothing")


async def numbers(session, brane, group):
    """Retries are applied once, and numbers that were passed over are not taken."""
    edit = await brane.submit(update(group["id"], {"retried": True}))
    await all_durable(brane, [edit], 30)
    head = brane.replica.seq
    answers = []
    on_applied, on_refused = brane.on_applied, brane.on_refused
    brane.on_applied = lambda m: (answers.append(m), on_applied(m))
    brane.on_refused = lambda m: (answers.append(m), on_refused(m))
    session.OF_BRANES = {
        **Session.OF_BRANES,
        "object.applied": lambda b, m: b.on_applied(m),
        "object.refused": lambda b, m: b.on_refused(m),
    }
    brane._next += 1
    passed_over = brane._next - 1
    later = await brane.submit(update(group["id"], {"later": 1}))
    await all_durable(brane, [later], 30)
    for n in (edit.n, passed_over):
        wire = {"n": n, **edit.operation}
        session.send({"op": "object.update", "ch": brane._channel, "edits": [wire]})
    await session.ping()
    async with asyncio.timeout(30):
        while len(answers) < 3:
            await asyncio.sleep(0.01)
    check([edit.n, edit.seq] in [e for m in answers for e in m["edits"]], "a retry has the old seq")
    codes = [e["code"] for m in answers for e in m["edits"] if isinstance(e, dict)]
    check(codes == ["outcome_unknown"], f"a number passed over: {codes}")
    check(brane.replica.seq == head + 1, "neither is in the log")
    del session.OF_BRANES


async def among_people(connect, mine, others):
    """Two see and hear each other; a third comes and goes."""
    mine.follow()
    others.follow()
    await mine.until(lambda: mine.people.whole)
    await others.until(lambda: others.people.whole)
    check(mine.people.you != others.people.you, "each has a number")
    check(mine.people.people == others.people.people, "both see who is there")
    mine.stand((1, 2, 3), (0, 1, 0, 0), b"sits")
    others.stand((4, 2, 3))
    await others.until(lambda: mine.people.you in others.people.avatars)
    await mine.until(lambda: others.people.you in mine.people.avatars)
    pose, state = others.people.avatars[mine.people.you]
    check(pose == pack_transform((1, 2, 3), (0, 1, 0, 0))[:18], "where one stands")
    check(state == b"sits", "and how")
    others.stand((5, 2, 3))
    there = pack_transform((5, 2, 3))[:18]
    await mine.until(lambda: mine.people.avatars[others.people.you][0] == there)
    for to in ("all", "near", others.people.you):
        mine.signal(to, "wave", {"to": to})
    await others.until(lambda: len(others.people.signals) == 3)
    heard = [(s["from"], s["kind"], s["body"]["to"]) for s in others.people.signals]
    you = mine.people.you
    check(heard == [(you, "wave", to) for to in ("all", "near", others.people.you)], heard)

    before = dict(mine.people.people)
    session, third = await connect(), Brane(mine.id)
    await session.join(third)
    await mine.until(lambda: len(mine.people.people) > len(before))
    await session.cut()
    await mine.until(lambda: mine.people.people == before)


def change_brane(options, change):
    """Changes what the brane is called, over HTTP. Gives what it is then."""
    origin = options.url.replace("ws", "http", 1).removesuffix("/ws")
    url = f"{origin}/api/v1/brane/{options.brane}"
    headers = {"Authorization": f"Bearer {options.token}", "Accept": "application/json"}
    with urlopen(Request(url, headers=headers)) as answer:
        headers |= {"If-Match": answer.headers["ETag"], "Content-Type": "application/json"}
    body = json.dumps(change).encode()
    with urlopen(Request(url, body, headers, method="PATCH")) as answer:
        return json.load(answer)


async def hear_of_changes(options, branes):
    """Everybody in a brane is told what it is called from now on."""
    check(all(brane.said is None for brane in branes), "nothing has changed yet")
    for name in ("first", "second"):
        change = {"name": name, "tags": ["scenario", name]}
        now = await asyncio.to_thread(change_brane, options, change)
        for brane in branes:
            await brane.until(lambda: brane.said is not None and brane.said["name"] == name)
            said = {key: brane.said[key] for key in change}
            check(said == change, f"{said}, not {change}")
            check(brane.said["visibility"] == now["visibility"], "what was left out stays")
    check(len({brane.said["version"] for brane in branes}) == 1, "one version for all")


async def same_part(walker, builder, where):
    """The walker's copy is the part of the builder's whole one that it is of."""
    # A view in which nothing happens hears of it within a second or so.
    level = lambda: walker.sees_area and walker.replica.seq == builder.replica.seq
    while not level():
        news = [asyncio.ensure_future(brane.until(level)) for brane in (walker, builder)]
        first, others = await asyncio.wait(news, return_when=asyncio.FIRST_COMPLETED)
        for other in others:
            other.cancel()
        for one in first:
            one.result()
    shown = within(builder.replica.objects, walker.replica.view)
    ours, theirs = [
        {handle: digest(handle, object) for handle, object in objects.items()}
        for objects in (walker.replica.objects, shown)
    ]
    differ = sorted(handle for handle, _ in ours.items() ^ theirs.items())
    check(not differ, f"{where}: {differ} differ")
    return shown


async def walks(connect, builder):
    """One walks along a row of lamps, while they are moved about."""
    post = lambda x, **more: create(0, "group", transform=pack_transform((x, 0, 0)), **more)
    row = [post(10 * i) for i in range(20)]
    lamps = [create(one["id"], "block", props={"lamp": i}) for i, one in enumerate(row)]
    tower = post(195, props={"extent": 300})
    edits = [await builder.submit(operation) for operation in [*row, *lamps, tower]]
    await all_durable(builder, edits, 60)

    session, walker = await connect(), Brane(builder.id, area=area((0, 0, 0), 20))
    await session.join(walker)
    shown = await same_part(walker, builder, "at the beginning")
    ids = {object.id for object in shown.values()}
    check({row[0]["id"], row[1]["id"], lamps[0]["id"], tower["id"]} <= ids, "what is near, and is large")
    check(row[19]["id"] not in ids and lamps[19]["id"] not in ids, "what is far")
    for x in range(1_000):
        # Far too fast for the server, but not all of it is said.
        walker.look(area((x % 7 * 1000, 0, 0), 20))
    for x in range(0, 200, 20):
        walker.look(area((x, 0, 0), 20))
        moves = [(x + 5, 0, 0), (x + 40, 0, 0), (x, 90, 0), (x - 15, 0, 2)]
        for i, to in enumerate(moves):
            await builder.submit(move(row[(x // 10 + i) % 20]["id"], position=to))
        own = lamps[x // 10]["id"]
        edits = [await builder.submit(reparent(own, row[-1 - x // 10]["id"]))]
        edits.append(await walker.submit(update(own, {"by": "walker"})))
        edits.append(await builder.submit(create(row[x // 10]["id"], "block", props={"at": x})))
        for edit in edits:
            await (walker if edit is edits[1] else builder).until(lambda: edit.settled)
            check(edit.state == "durable", f"{edit.state} {edit.code}")
        await same_part(walker, builder, f"at {x} m")

    # As long as somebody sees a part, windows can be replayed by parts.
    still_session, still = await connect(), Brane(builder.id, area=area((0, 0, 0), 1))
    await still_session.join(still)
    await session.cut()
    away = [await builder.submit(move(one["id"], position=(150, i, 0))) for i, one in enumerate(row)]
    await all_durable(builder, away, 30)
    walker.look(area((150, 0, 0), 30))
    session = await connect()
    await session.join(walker)
    check(walker.catch_up == "replay", f"resumed by {walker.catch_up}")
    shown = await same_part(walker, builder, "after the cut")
    check({one["id"] for one in row} <= {object.id for object in shown.values()}, "all came")
    walker.look(None)
    await walker.until(lambda: walker.sees_area)
    await hash_agrees(walker, "who walked and sees everything now")
    walker.look(area((-500, 0, 0), 10))
    await same_part(walker, builder, "far away")
    await same_part(still, builder, "who stood still")
    for one in (session, still_session):
        check(not one.errors, f"errors: {one.errors}")
        await one.close()
    await all_durable(builder, [await builder.submit(delete(o["id"])) for o in [*row, tower]], 30)


async def hash_agrees(brane, who):
    await brane.until(lambda: brane.up_to_date)
    ours, theirs = await brane.hashes_agree()
    check(ours == theirs, f"{who}: own hash {ours.hex()}, the server's {theirs.hex()}")


async def run(options):
    connect = lambda: Session.connect(options.url, options.token)
    session, other_session = await connect(), await connect()
    mine, others = Brane(options.brane), Brane(options.brane)
    check(await session.ping() > 1_600_000_000_000, "the server's clock")
    await session.join(mine)
    await other_session.join(others)
    check(mine.catch_up == "snapshot", "a first join brings a snapshot")
    await mine.until(lambda: mine.up_to_date)
    await hash_agrees(mine, "after the first join")

    group, blocks, edits = await build(mine, options.size)
    await all_durable(mine, edits, 60)
    await all_durable(mine, await change(mine, group, blocks), 60)
    await refusals(mine, group)
    await among_people(connect, mine, others)
    await hear_of_changes(options, (mine, others))
    await numbers(session, mine, group)
    await walks(connect, others)
    await hash_agrees(mine, "after the edits")

    print(f"at {mine.replica.epoch}.{mine.replica.seq}, durable up to {mine.durable}; cutting")
    ids = [blocks[0]["id"], blocks[1]["id"], *(block["id"] for block in blocks[6:])]
    in_flight = []
    for i in range(options.moves):
        in_flight.append(await mine.submit(move(ids[i % len(ids)], position=(i, i / 7, -i))))
        if i % 16 == 0:
            await asyncio.sleep(0)
    await session.cut()
    check(not mine.joined, "cut off")
    unsettled = sum(not edit.settled for edit in in_flight)

    await others.until(lambda: others.up_to_date)
    gone = [await others.submit(delete(block["id"])) for block in blocks[6:9]]
    more = [await others.submit(update(group["id"], {"seen": i})) for i in range(50)]
    more += [await others.submit(create(group["id"], "block", props={"by": "other"}))]
    # Written while there is no connection; sent by the join.
    offline = [await mine.submit(update(group["id"], {"offline": i})) for i in range(5)]
    await all_durable(others, gone + more, 60)

    session = await connect()
    await session.join(mine)
    print(f"resumed by {mine.catch_up}, {unsettled} edits were in flight, {mine.rewinds} rewinds")
    check(mine.catch_up in ("replay", "diff"), f"a resume by {mine.catch_up}")
    await mine.until(lambda: all(edit.settled for edit in in_flight + offline), 60)
    for edit in in_flight + offline:
        # Some went for a block that the other one deleted meanwhile.
        fine = edit.state == "durable" or edit.code == "object_not_found"
        check(fine, f"edit {edit.n} is {edit.state} {edit.code}")
    seqs = [edit.seq for edit in in_flight + offline if edit.state == "durable"]
    check(seqs == sorted(set(seqs)), "each is applied once, in order")
    await all_durable(mine, offline, 30)

    await others.until(lambda: others.replica.seq >= mine.replica.seq)
    await hash_agrees(mine, "after the resume")
    await mine.until(lambda: mine.people.whole and len(mine.people.people) == 2)
    await hash_agrees(others, "the other client")
    await last_looks(connect, session, mine, group)
    for one in (session, other_session):
        check(not one.errors, f"errors: {one.errors}")
        await one.close()


async def last_looks(connect, session, mine, group):
    """A whole snapshot is the same world; a channel can be left; unknown
    operations get their error."""
    third_session, third = await connect(), Brane(mine.id)
    await third_session.join(third)
    await hash_agrees(third, "a fresh snapshot")
    try:
        await third_session.join(Brane(mine.id))
        check(False, "a brane is joined once on a connection")
    except Refused as error:
        check(error.code == "already_joined", error.code)
    third_session.send({"op": "object.fly", "ch": third._channel})
    await third_session.ping()
    check([e["code"] for e in third_session.errors] == ["unknown_operation"], third_session.errors)
    await third.leave()
    await third_session.close()
    await all_durable(mine, [await mine.submit(delete(group["id"]))], 30)
    check(mine.replica.find(group["id"]) is None, "deleted")
    await hash_agrees(mine, "at the end")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True, help="ws:// or wss:// address of /ws")
    parser.add_argument("--token", required=True, help="of a builder or owner")
    parser.add_argument("--brane", required=True, help="id of the brane to edit")
    parser.add_argument("--size", type=int, default=20, help="blocks to build (at least 12)")
    parser.add_argument("--moves", type=int, default=100, help="edits in flight at the cut")
    parser.add_argument("--timeout", type=float, default=180, help="seconds for all of it")
    options = parser.parse_args()
    try:
        asyncio.run(asyncio.wait_for(run(options), options.timeout))
    except (AssertionError, Refused, OSError, TimeoutError) as error:
        print(f"FAILED after {checks} checks: {type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(1)
    print(f"ok, {checks} checks")


if __name__ == "__main__":
    main()
