"""Which graders are connected, to this node and to the others."""

from __future__ import annotations

import msgspec
from msgspec import Struct
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from ..errors import StoreUnavailable
from ..interfaces import IStore, Spawn
from .connected import ConnectedGraders

LOOK = 1.0  # s between looks whether others are to be told something new
REPEAT = 10.0  # s after which they are told again: a node that was only slow may have been taken for dead


class GraderView(Struct, frozen=True):
    """A grader that is connected.

    :ivar busy: how many of its slots have a job.
    :ivar since: when it connected, ms since the epoch.
    """

    grader_id: str
    challenges: tuple[str, ...]
    functions: tuple[str, ...]
    slots: int
    busy: int
    since: int


_decode = msgspec.json.Decoder(list[GraderView]).decode


async def connected_graders(store: IStore) -> dict[str, list[GraderView]]:
    """Return the graders that are connected to each node that lives.

    :raises StoreUnavailable: the store does not answer.
    """
    return {node: _decode(text) for node, text in (await store.shown()).items()}


class Roster:
    """Tells the other nodes, and operators, who is connected here."""

    log = Logger()

    def __init__(
        self, clock: IReactorTime, store: IStore, node: str, graders: ConnectedGraders, spawn: Spawn
    ) -> None:
        self._clock = clock
        self._store = store
        self._node = node
        self._graders = graders
        self._spawn = spawn
        self._shown = b"[]"
        self._again = 0.0
        self._showing = False
        self._looks = LoopingCall(self._look)
        self._looks.clock = clock

    def start(self) -> None:
        """Begin to look."""
        self._looks.start(LOOK, now=False)

    def stop(self) -> None:
        """Look no more; who leaves the store is forgotten there."""
        if self._looks.running:
            self._looks.stop()

    def here(self) -> list[GraderView]:
        """Return the graders that are connected to this node."""
        return [
            GraderView(
                one.hello.grader_id,
                tuple(sorted(one.hello.challenges)),
                tuple(sorted(one.hello.functions)),
                one.slots,
                len(one.held),
                int(one.since * 1000),
            )
            for one in self._graders.graders
        ]

    async def somebody(self, challenge: str) -> bool:
        """Tell whether a grader of a challenge is connected to any node.

        :raises StoreUnavailable: the store does not answer.
        """
        if any(challenge in grader.challenges for grader in self.here()):
            return True
        shown = await connected_graders(self._store)
        return any(challenge in one.challenges for there in shown.values() for one in there)

    def _look(self) -> None:
        text = msgspec.json.encode(self.here())
        again = text != b"[]" and self._clock.seconds() >= self._again
        if (text != self._shown or again) and not self._showing:
            self._showing = True
            self._spawn("roster", self._show(text))

    async def _show(self, text: bytes) -> None:
        try:
            await self._store.show(self._node, text.decode())
        except StoreUnavailable as error:
            self.log.warn("nobody is told who is connected here: {error}", error=error)
        else:
            self._shown = text
            self._again = self._clock.seconds() + REPEAT
        finally:
            self._showing = False
