"""Where a brane is, when the server is one node of several."""

import asyncio

import websockets

from .session import Closed, Downgrade, Refused, Session

# The first pause after a round in vain; it doubles, up to the last.
PAUSES_S = (0.05, 2.0)
# Nodes one is sent to, one after another, before that counts as being lost.
MAX_HOPS = 3


def websocket_url(address):
    """The WebSocket of a node, of which `moved` names the base."""
    for scheme, other in (("http://", "ws://"), ("https://", "wss://")):
        if address.startswith(scheme):
            return other + address[len(scheme) :].rstrip("/") + "/ws"
    return address


async def join_anywhere(brane, addresses, token, timeout=30.0, connect=Session.connect):
    """Joins a brane at the node that serves it, with its copy and its edits;
    gives the session. Begins where the brane was said to be, goes where it is
    sent, and back to `addresses` where nobody is there. `addresses` is a list;
    those that are learned are added to it. From TLS it is not followed to where
    there is none: `Downgrade`."""
    pause, at, hops = PAUSES_S[0], 0, 0
    async with asyncio.timeout(timeout):
        while True:
            _stay_with_tls(brane)
            told, wait_s = brane.moved_to, 0.0
            url = websocket_url(told or addresses[at % len(addresses)])
            try:
                session = await connect(url, token)
            except (OSError, websockets.WebSocketException, TimeoutError, Closed):
                # If its node is dead, another one has the brane after that time.
                wait_s = brane.moved_wait_s if told else 0.0
                brane.moved_to, at = None, at if told else at + 1
                await asyncio.sleep(max(pause, wait_s))
                pause = min(2 * pause, PAUSES_S[1])
                continue
            brane.over_tls = url.startswith("wss://")
            try:
                await session.join(brane)
                return session
            except (Refused, Closed) as error:
                await session.close()
                if not _may_pass(error):
                    raise
                hops += 1
            _stay_with_tls(brane)
            if brane.moved_to and brane.moved_to not in addresses:
                addresses.append(brane.moved_to)
            if not brane.moved_to or hops > MAX_HOPS:
                await asyncio.sleep(pause)
                pause = min(2 * pause, PAUSES_S[1])


def _stay_with_tls(brane):
    """Whoever came by TLS trusts that nobody reads along."""
    told = brane.moved_to
    if told and brane.over_tls and not websocket_url(told).startswith("wss://"):
        brane.moved_to = None
        raise Downgrade(told)


def _may_pass(error):
    if isinstance(error, Closed):
        return error.reconnect
    return error.code in ("moved", "unavailable", "timeout", "internal", "brane_full", "rate_limited")
