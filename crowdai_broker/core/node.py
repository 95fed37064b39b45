"""One broker node: the core's parts, put together over the seams they are given."""

from __future__ import annotations

import random
import secrets
from collections.abc import Callable, Mapping
from typing import Protocol

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from ..config import Config
from ..interfaces import IGrader, IStore, IWebapp, Spawn
from .absence import Absence
from .cancelling import Cancelling
from .catalogue import Catalogue
from .connected import ConnectedGraders
from .delivery import Delivery
from .dispatch import Dispatcher
from .enqueuing import Enqueuing
from .grader_hello import KIND, GraderDoor
from .grading import Grading
from .handing import HandingOut
from .intake import Intake
from .model import EffectKind, Job
from .outbox import BEGIN_WITHIN, Outbox, OutboxObserver
from .participants import Participants
from .places import Places
from .polling import Polling
from .presence import Presence
from .registering import Registering
from .relay import Relay, RelayObserver
from .roster import Roster
from .sessions import Sessions
from .sweep import Sweep

NODE_ID_BYTES = 8
DRAIN_LOOK = 0.1  # s between looks whether all is done


class NodeObserver(RelayObserver, OutboxObserver, Protocol):
    """Everything the metrics want to know of the core."""


def new_node_id() -> str:
    """Return a name for a node; each start of a process is a node of its own."""
    return secrets.token_hex(NODE_ID_BYTES)


class Node:
    """A broker node.

    :param graders: the kinds of graders that are served, beside those that connect to the node.
    :param on_adopted: called with the nodes whose response lists are this node's to read as well.
    :param jitter: returns a number from 0 to 1; repetitions are spread by it.
    """

    def __init__(
        self,
        clock: IReactorTime,
        config: Config,
        node_id: str,
        store: IStore,
        webapp: IWebapp,
        graders: Mapping[str, IGrader],
        spawn: Spawn,
        observer: NodeObserver,
        on_adopted: Callable[[list[str]], None],
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.node_id = node_id
        self._clock = clock
        timeout = config.webapp.timeout
        catalogue = Catalogue(clock, config, webapp)
        self.delivery = Delivery(store, node_id, spawn)
        self.relay = Relay(
            clock,
            store,
            self.delivery,
            spawn,
            observer,
            config.limits.progress_per_second,
            self._job_moved,
        )
        self.connected = ConnectedGraders(
            clock, store, catalogue, self.delivery, self.relay, spawn, self._room_here
        )
        graders = {**graders, KIND: self.connected}
        self.door = GraderDoor(clock, catalogue, config.limits.auth_failures_per_minute)
        self.dispatcher = Dispatcher(
            clock,
            store,
            node_id,
            catalogue,
            graders,
            self.relay.attempts,
            spawn,
            self._effects_stored,
        )
        self.outbox = Outbox(
            clock,
            store,
            node_id,
            self.delivery,
            spawn,
            observer,
            {
                EffectKind.REGISTER: Registering(webapp, catalogue, timeout),
                EffectKind.GRADE: Grading(webapp, timeout),
                EffectKind.DISPATCH: HandingOut(clock, store, catalogue, graders, self.relay.attempts),
                EffectKind.POLL: Polling(clock, webapp, self.relay.attempts),
            },
            lease=3 * timeout + 30,
            on_settled=self._effect_settled,
            jitter=jitter,
        )
        intake = Intake(clock, store, catalogue, node_id, config.broker.public_url)
        self.enqueuing = Enqueuing(clock, store, catalogue, intake, self.dispatcher, graders)
        self.participants = Participants(
            clock,
            config,
            store,
            catalogue,
            Sessions(clock, store, webapp, config.broker.session_ttl),
            intake,
            Cancelling(clock, store, catalogue, graders, self.delivery, self.dispatcher, self.relay.attempts),
            self.delivery,
            self.dispatcher,
            self.outbox,
            graders,
        )
        self.presence = Presence(clock, catalogue, graders, self.relay.attempts, self.delivery, spawn)
        self.roster = Roster(clock, store, node_id, self.connected, spawn)
        self._absence = Absence(clock, store, catalogue, graders, self.roster, self.delivery, spawn)
        self.connected.on_joined = self._absence.came
        self._places = Places(clock, store, self.delivery, spawn)
        self._sweep = Sweep(
            clock,
            store,
            node_id,
            catalogue,
            graders,
            self.delivery,
            self.dispatcher,
            self.relay.attempts,
            spawn,
            timeout + BEGIN_WITHIN,
            on_adopted,
        )

    async def start(self) -> None:
        """Join the other nodes and begin to work on what is stored.

        :raises StoreUnavailable: the store does not answer.
        """
        self.delivery.start(self.dispatcher.hear)
        await self._sweep.start()
        self.relay.start()
        self.connected.start()
        self.roster.start()
        self._absence.start()
        self.outbox.start()
        self.presence.start()
        self._places.start()

    async def drain(self) -> None:
        """Begin nothing new, and wait for what graders hold while somebody here waits for it.

        A client that cannot resume would never hear of it otherwise. What is waiting is left to other nodes.
        """
        self.participants.close()
        self.enqueuing.close()
        self.dispatcher.stop()
        while self.delivery.waiting and (len(self.relay.attempts) or self.dispatcher.busy):
            await deferLater(self._clock, DRAIN_LOOK)

    async def stop(self) -> None:
        """Leave: what this node has not finished may be taken over at once."""
        self.outbox.stop()
        self.presence.stop()
        self._places.stop()
        self._absence.stop()
        self.roster.stop()
        self.connected.stop()
        self.relay.stop()
        await self._sweep.stop()

    def _room_here(self, challenge: str) -> None:
        """A grader that is connected here may take a job."""
        self.dispatcher.poke(challenge)

    def _effects_stored(self) -> None:
        """Orders are to be handed out."""
        self.outbox.poke()

    def _job_moved(self, job: Job) -> None:
        """A job ended: a grader's place is free, and there may be a grade to post."""
        self.dispatcher.poke(job.challenge)
        if job.submission_id:
            self.outbox.poke()

    def _effect_settled(self, job: Job) -> None:
        """A job was registered, so it may be dispatched, or graded, so its execution may be complete."""
        self.dispatcher.poke(job.challenge)
        self.delivery.recheck(job.execution_id)
