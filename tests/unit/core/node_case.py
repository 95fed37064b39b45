"""What the tests of a whole node share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from crowdai_broker.config import Config
from crowdai_broker.errors import PeerError
from crowdai_broker.interfaces import IGrader
from crowdai_broker.testing import GraderJob

from .world import Participant, Running, World


class NodeCase(SynchronousTestCase):
    """A node ``n1`` and a participant connected to it; background work that fails fails the test."""

    world: World
    node: Running
    ada: Participant

    def setUp(self) -> None:
        """Start a node with graders on the store's own lists."""
        super().setUp()
        self.begin()

    def begin(self, config: Config | None = None, graders: Mapping[str, IGrader] | None = None) -> None:
        """Start anew in a world with this configuration."""
        self.world = World(config, graders)
        self.node = self.world.make_node()
        self.ada = Participant(self.node)

    def tearDown(self) -> None:
        """Look whether background work failed, and whether every log is whole."""
        super().tearDown()
        self.assertEqual(self.world.problems(), [])
        for stored in self.world.redis.executions.values():
            numbers = [event.event_no for event in stored.log]
            self.assertEqual(numbers, list(range(1, len(numbers) + 1)))

    def take(self) -> GraderJob:
        """Let the grader take the next order, which must be there."""
        job = self.world.grader.take()
        assert job is not None, "no order lies on the queue"
        return job

    def refusal(self, *args: Any, **kwargs: Any) -> str:
        """Return what a refused ``execute`` of the participant says."""
        with self.assertRaises(PeerError) as caught:
            self.ada.execute(*args, **kwargs)
        return str(caught.exception)

    def whole(self, peer: Participant) -> None:
        """Check that a peer has every event from the first, once and in order."""
        self.assertEqual(peer.numbers, list(range(1, len(peer.numbers) + 1)))
