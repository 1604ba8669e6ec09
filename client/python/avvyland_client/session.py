"""One connection."""

import asyncio

import cbor2
import websockets

from .brane import Brane
from .replica import Broken

# Windows of a busy brane and parts of snapshots are far below.
MAX_MESSAGE_BYTES = 64 * 1024 * 1024
TIMEOUT_S = 30.0


class Refused(Exception):
    """The server answered with an `error`."""

    def __init__(self, error):
        super().__init__(f"{error['code']}: {error['message']} (trace {error['trace_id']})")
        self.code = error["code"]


class Downgrade(Exception):
    """A brane that was served over TLS is said to be where there is none."""

    def __init__(self, address):
        super().__init__(f"the brane is at {address}, where what is said could be read on the way")
        self.address = address


class Closed(Exception):
    """The connection ended; `code` says why, and so whether to come back."""

    def __init__(self, code):
        super().__init__(f"closed with {code}")
        self.code = code

    @property
    def reconnect(self):
        return not (4500 <= self.code < 5000 or self.code in (1000, 1009))


class Session:
    """Make it with `connect`. Branes outlive it: join them on the next one."""

    def __init__(self, socket):
        self._socket = socket
        self._welcome = asyncio.get_running_loop().create_future()
        self._joining = None
        self._branes = {}
        self._pongs = {}
        self._outgoing = asyncio.Queue()
        self._tasks = []
        self.errors = []
        self.max_edits_in_flight = 1
        self.close_code = None

    @classmethod
    async def connect(cls, url, token, agent="avvyland-python/1"):
        socket = await websockets.connect(
            url,
            compression=None,
            max_size=MAX_MESSAGE_BYTES,
            ping_interval=None,
            open_timeout=TIMEOUT_S,
            proxy=None,
        )
        session = cls(socket)
        session._tasks = [asyncio.create_task(session._read()), asyncio.create_task(session._write())]
        hello = {"op": "hello", "min_version": 1, "max_version": 1, "token": token, "agent": agent}
        session.send(hello)
        async with asyncio.timeout(TIMEOUT_S):
            session.welcome = await session._welcome
        session.max_edits_in_flight = session.welcome["max_edits_in_flight"]
        session._tasks.append(asyncio.create_task(session._beat()))
        return session

    async def join(self, brane):
        """Joins; returns when edits can be sent, while the copy catches up."""
        assert self._joining is None, "one join at a time"
        answer = asyncio.get_running_loop().create_future()
        self._joining = (brane, answer)
        self.send(brane.join_message(self.welcome["max_message_bytes"]))
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await answer
        finally:
            self._joining = None
        return brane

    async def ping(self):
        """The server's Unix time in milliseconds."""
        nonce = len(self._pongs) + 1
        self._pongs[nonce] = asyncio.get_running_loop().create_future()
        self.send({"op": "ping", "nonce": nonce})
        async with asyncio.timeout(TIMEOUT_S):
            return await self._pongs[nonce]

    def send(self, message):
        self._outgoing.put_nowait(cbor2.dumps(message))

    async def close(self):
        await self._socket.close()
        await self._tasks[0]

    def stop_reading(self, stops=True):
        """Takes nothing more from the socket, or goes on."""
        transport = self._socket.transport
        if not transport.is_closing():
            transport.pause_reading() if stops else transport.resume_reading()

    async def cut(self):
        """Ends the connection as a broken cable would: no close, no goodbye."""
        self._socket.transport.abort()
        await self._tasks[0]

    async def _beat(self):
        while True:
            await asyncio.sleep(self.welcome["heartbeat_ms"] / 1000)
            await self.ping()

    async def _write(self):
        try:
            while True:
                await self._socket.send(await self._outgoing.get())
        except websockets.ConnectionClosed:
            pass  # The reader deals with it.

    async def _read(self):
        try:
            async for data in self._socket:
                self._on_message(cbor2.loads(data))
        except websockets.ConnectionClosed:
            pass
        except Broken as error:
            self.errors.append({"code": "broken", "message": str(error)})
            for brane in self._branes.values():
                brane.replica = None
            self._socket.transport.abort()
        finally:
            self._on_end()

    def _on_end(self):
        self.close_code = self._socket.close_code or 1006
        for brane in self._branes.values():
            brane.on_gone()
        waiting = [self._welcome, *self._pongs.values()]
        waiting += [self._joining[1]] if self._joining else []
        for future in waiting:
            if not future.done():
                future.set_exception(Closed(self.close_code))
                future.exception()  # Whoever waits gets it; nobody need.
        for task in self._tasks[1:]:
            task.cancel()

    def _on_message(self, message):
        event = message["event"]
        if event == "welcome":
            self._welcome.set_result(message)
        elif event == "pong":
            waiting = self._pongs.get(message["nonce"])
            if waiting and not waiting.done():
                waiting.set_result(message["ms"])
        elif event == "error":
            self._on_error(message)
        elif event == "brane.joined":
            self._on_joined(message)
        elif event == "brane.left":
            brane = self._branes.pop(message["ch"], None)
            if brane:
                brane.on_gone(message)
        elif event in self.OF_BRANES and message["ch"] in self._branes:
            self.OF_BRANES[event](self._branes[message["ch"]], message)

    OF_BRANES = {
        "brane.snapshot": Brane.on_snapshot,
        "brane.view": Brane.on_view,
        "entity.update": Brane.on_window,
        "version_complete": Brane.on_version_complete,
        "rewind": Brane.on_rewind,
        "object.applied": Brane.on_applied,
        "object.refused": Brane.on_refused,
        "brane.durable": Brane.on_durable,
        "brane.changed": Brane.on_changed,
        "brane.level": Brane.on_level,
        "brane.hash": Brane.on_hash,
        "people.page": Brane.on_people_page,
        "people.changed": Brane.on_people_changed,
        "presence.poses": Brane.on_poses,
        "signal": Brane.on_signal,
    }

    def _on_joined(self, message):
        channel = message["ch"]
        if channel in self._branes:
            # A new start after falling behind.
            self._branes[channel].on_joined(self, message, answers_join=False)
            return
        brane, answer = self._joining
        self._branes[channel] = brane
        brane.on_joined(self, message, answers_join=True)
        answer.set_result(None)

    def _on_error(self, message):
        if message.get("operation") == "brane.join" and self._joining:
            brane, answer = self._joining
            brane.on_join_refused(message)
            answer.set_exception(Refused(message))
        elif not self._welcome.done():
            self._welcome.set_exception(Refused(message))
        elif (message.get("operation"), message["code"]) == ("brane.view", "rate_limited"):
            if message["ch"] in self._branes:
                self._branes[message["ch"]].on_look_refused(message["retry_after_ms"])
        else:
            self.errors.append(message)
