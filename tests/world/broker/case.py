"""What the tests of the whole have in common: a world for each class, looked over after each test."""

from __future__ import annotations

import atexit
import contextlib
import sys
import unittest
from typing import ClassVar

from twisted.trial.unittest import SynchronousTestCase

from .hands import Hands
from .participant import Participant
from .programs import Broker
from .world import Plan, World


class _Shared:
    """The world of the class whose tests run now; there is never more than one."""

    def __init__(self) -> None:
        self.owner: type[WorldCase] | None = None
        self.world: World | None = None
        self.left: set[str] = set()
        self.broken = ""
        atexit.register(self._last)

    def of(self, owner: type[WorldCase]) -> World:
        """Return the world of a class; that of another class ends."""
        if self.owner is not owner:
            self.owner, self.broken = owner, ""
            self.left = set(unittest.TestLoader().getTestCaseNames(owner))
            self.close()
        if self.broken:
            raise AssertionError(f"the world could not begin: {self.broken}")
        if self.world is None:
            self.world = World(owner.plan)
            self._begin(owner, self.world)
        return self.world

    def _begin(self, owner: type[WorldCase], world: World) -> None:
        """Start what the class needs; after a failure none of its other tests tries again."""
        try:
            owner.begin(world)
        except BaseException as why:
            self.broken = str(why)
            with contextlib.suppress(AssertionError):
                self.close()
            raise

    def ran(self, test: str) -> None:
        """Note that a test of the class has run; after its last one the world ends."""
        self.left.discard(test)
        if not self.left:
            self.close()

    def close(self) -> None:
        """End the world.

        :raises AssertionError: something in it did not end as it should.
        """
        world, self.world = self.world, None
        if world is not None and (wrong := world.close()):
            raise AssertionError("\n".join(wrong))

    def _last(self) -> None:
        try:
            self.close()
        except AssertionError as wrong:
            sys.stderr.write(f"{wrong}\n")


_shared = _Shared()


class WorldCase(SynchronousTestCase):
    """Tests in one world.

    After each of them the brokers' logs must hold no traceback and no secret; after the last one the broker
    is told to stop and must end with status 0.

    :cvar plan: what the world is made of.
    """

    plan: ClassVar[Plan] = Plan()

    @classmethod
    def begin(cls, world: World) -> None:
        """Start what the class needs; by default a broker that can do its work."""
        world.launch().ready()

    def setUp(self) -> None:
        """Have a world."""
        self.addCleanup(_shared.ran, self._testMethodName)
        self.world = _shared.of(type(self))
        self.addCleanup(self._look_over)
        self.hands = Hands(self.world.redis)

    def _look_over(self) -> None:
        self.assertEqual(self.world.news_of_the_log(), [])

    def broker(self) -> Broker:
        """Return the broker."""
        return self.world.broker

    def participant(
        self,
        challenge: str,
        number: int = 0,
        *,
        transport: str = "",
        authenticate: bool = True,
        at: Broker | None = None,
    ) -> Participant:
        """Return a participant who is connected and, unless told otherwise, authenticated.

        :param number: which of the world's keys is its own.
        :param transport: ``polling`` or ``websocket``; default: the one, then the other.
        :param at: the broker; default: the one that was started last.
        """
        port = (at or self.world.broker).port
        made = Participant(port, self.world.keys[number], challenge, transport)
        self.addCleanup(made.leave)
        if authenticate:
            made.authenticate()
            self.world.secrets.add(made.token)
        return made
