"""From an execution's event log to the peers that follow it.

A subscription knows the number of the event it needs next and is served from the log: events that arrive
live are sent if they are next, dropped if they were sent, and if one is missing in between the log is read.
So the first live event, a ``resume`` after a day, an event that another node logged and one that got lost on
the way from there are one code path, and each is sent once and in order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain

import msgspec
from twisted.logger import Logger

from ..errors import StoreUnavailable
from ..interfaces import IStore, Spawn
from .events import JobEvent, Outcome
from .grader_events import TERMINAL_EVENTS
from .model import Execution, Inbox, Job, LoggedEvent, Move, Moved

READ_AT_ONCE = 256  # events read from a log in one call
NOT_KEPT = Outcome({}, JobEvent.ERROR.value, "This execution is no longer kept.")
_ENDS = tuple(f'"{kind}"' for kind in TERMINAL_EVENTS)
_decode_outcome = msgspec.json.Decoder(Outcome).decode

Send = Callable[[str, str], None]
"""Emits to a peer: the event's name (a ``response_channel``) and its one argument, JSON text."""


def _no_more(channel: str, text: str) -> None:
    """Send nothing."""


class Subscription:
    """One peer following one execution.

    :param channel: name of the event with which the peer gets job events.
    :param send: called with the channel and an event's JSON text.
    :param finish: called once, with the outcome of each job in order, when all jobs have ended and all
        events until then were sent (events may follow: the leaderboard is told after a job's end); ``None``:
        nobody waits for the end.
    :param after: number of the last event the peer has.
    """

    def __init__(
        self,
        execution_id: str,
        channel: str,
        send: Send,
        finish: Callable[[list[Outcome]], None] | None,
        after: int = 0,
    ) -> None:
        self.execution_id = execution_id
        self.channel = channel
        self.next = after + 1
        self.reading = False
        self.again = False
        self.cancelled = False
        self.ended = False
        self._send = send
        self._finish = finish

    @property
    def over(self) -> bool:
        """Whether nothing will be sent any more."""
        return self.cancelled

    @property
    def awaited(self) -> bool:
        """Whether the peer still waits to be told the end."""
        return self._finish is not None and not self.ended and not self.cancelled

    def mute(self) -> None:
        """Send no more events; the end is told all the same."""
        self._send = _no_more

    def offer(self, events: Sequence[LoggedEvent]) -> bool:
        """Send what is next of ``events``; return false if one before them is missing."""
        for event in events:
            if event.event_no > self.next:
                return False
            if event.event_no == self.next and not self.cancelled:
                self.next += 1
                self._send(self.channel, event.text)
        return True

    def end(self, outcomes: list[Outcome]) -> None:
        """Tell the peer that all jobs have ended."""
        if not self.ended and not self.cancelled:
            self.ended = True
            if self._finish is not None:
                self._finish(outcomes)


class Delivery:
    """All subscriptions of this node."""

    log = Logger()

    def __init__(self, store: IStore, node: str, spawn: Spawn) -> None:
        self._store = store
        self._node = node
        self._spawn = spawn
        self._followers: dict[str, list[Subscription]] = {}
        self._behind: set[Subscription] = set()  # whose log could not be read, or may hold more than we know

    def __len__(self) -> int:
        return sum(map(len, self._followers.values()))

    def start(self, on_work: Callable[[str], None]) -> None:
        """Begin to hear of events that other nodes log, and of work that they announce."""
        self._store.listen(self.deliver, self.catch_up_all, on_work)

    @property
    def waiting(self) -> int:
        """How many peers wait for the end of an execution."""
        return sum(not one.ended for followers in self._followers.values() for one in followers)

    def follows(self, execution_id: str) -> bool:
        """Tell whether somebody here follows the execution."""
        return execution_id in self._followers

    async def follow(self, subscription: Subscription, *, watched: bool = False) -> None:
        """Send a peer what it misses, and from then on what comes.

        :param watched: the store knows already that this node watches the execution.
        """
        followers = self._followers.setdefault(subscription.execution_id, [])
        followers.append(subscription)
        if not watched:
            try:
                await self._store.watch(subscription.execution_id, self._node)
            except StoreUnavailable:
                self.leave(subscription)
                raise
        await self._catch_up(subscription)

    async def move(self, moves: Sequence[Move], now: int, inbox: Inbox | None = None) -> list[Moved]:
        """Apply moves and tell the followers here what they logged; see the store's method of this name.

        :raises StoreUnavailable: whatever was logged all the same is found by :meth:`mend`.
        """
        try:
            moved = await self._store.move(moves, self._node, now, inbox)
        except StoreUnavailable:
            self._behind.update(chain.from_iterable(self._followers.values()))
            raise
        for answer in moved:
            if answer.applied:
                self.deliver(answer.execution_id, answer.events, answer.unfinished)
        return moved

    async def mend(self) -> None:
        """Catch up where the store failed; one peer goes first to see whether it is back."""
        if not self._behind:
            return
        behind = self._behind
        self._behind = set()
        first = behind.pop()
        await self._catch_up(first)
        if first in self._behind:
            self._behind |= behind
            return
        for subscription in behind:
            self._spawn("delivery", self._catch_up(subscription))

    def leave(self, subscription: Subscription) -> None:
        """Stop serving a subscription, whose peer is gone."""
        subscription.cancelled = True
        self._behind.discard(subscription)
        self._drop(subscription)

    def deliver(
        self, execution_id: str, events: Sequence[LoggedEvent], unfinished: int | None = None
    ) -> None:
        """Take newly logged events of an execution.

        :param unfinished: its jobs that have not ended; ``None``: not known here.
        """
        followers = self._followers.get(execution_id)
        if not followers:
            return
        ended = _may_have_ended(events) if unfinished is None else unfinished == 0
        for subscription in tuple(followers):
            if subscription.reading:
                subscription.again = True
            elif not subscription.offer(events) or ended:
                self._spawn("delivery", self._catch_up(subscription))

    def catch_up_all(self) -> None:
        """Read the logs of all followed executions: events from other nodes may have been lost."""
        for followers in tuple(self._followers.values()):
            for subscription in followers:
                subscription.again = True
                self._spawn("delivery", self._catch_up(subscription))

    def recheck(self, execution_id: str) -> None:
        """Look whether anything can still follow in an execution whose jobs have ended."""
        for subscription in tuple(self._followers.get(execution_id, ())):
            if subscription.ended:
                self._spawn("delivery", self._catch_up(subscription))

    def tidy(self) -> None:
        """Look whether anything can still follow in any execution whose jobs have ended."""
        for execution_id in tuple(self._followers):
            self.recheck(execution_id)

    async def _catch_up(self, subscription: Subscription) -> None:
        """Read the log until nothing is missing, then see whether the execution has ended."""
        if subscription.reading:
            subscription.again = True
        if subscription.reading or subscription.cancelled:
            return
        subscription.reading = True
        try:
            await self._read_all(subscription)
        except StoreUnavailable as error:
            self.log.warn("events of {id} wait: {error}", id=subscription.execution_id, error=error)
            if not subscription.cancelled:
                self._behind.add(subscription)
        finally:
            subscription.reading = False

    async def _read_all(self, subscription: Subscription) -> None:
        """Read until the log has no more; again if events came meanwhile, which a reply may have crossed."""
        while not subscription.cancelled:
            subscription.again = False
            execution = await self._store.execution(subscription.execution_id)
            outcomes = await self._outcomes(subscription, execution)
            if await self._read(subscription) or subscription.again:
                continue
            if execution is None:
                outcomes = [NOT_KEPT]
            if outcomes is not None:
                subscription.end(outcomes)
            if execution is None or not execution.open:
                self.leave(subscription)
            return

    async def _read(self, subscription: Subscription) -> bool:
        """Send a piece of the log; return whether there may be more of it."""
        events = await self._store.events(subscription.execution_id, subscription.next - 1, READ_AT_ONCE)
        if events and events[0].event_no > subscription.next:
            subscription.next = events[0].event_no  # older ones are gone from a capped log
        subscription.offer(events)
        return bool(events)

    async def _outcomes(
        self, subscription: Subscription, execution: Execution | None
    ) -> list[Outcome] | None:
        """Return how each job ended, or ``None`` while one has not, and if the peer knows."""
        if subscription.ended or execution is None or execution.unfinished:
            return None
        return outcomes_of(await self._store.jobs(execution.execution_id))

    def _drop(self, subscription: Subscription) -> None:
        followers = self._followers.get(subscription.execution_id, [])
        if subscription in followers:
            followers.remove(subscription)
        if not followers and self._followers.pop(subscription.execution_id, None) is not None:
            self._spawn("unwatch", self._unwatch(subscription.execution_id))

    async def _unwatch(self, execution_id: str) -> None:
        try:
            if execution_id not in self._followers:
                await self._store.unwatch(execution_id, self._node)
        except StoreUnavailable as error:
            self.log.warn("still told of {id}, which nobody follows: {error}", id=execution_id, error=error)


def _may_have_ended(events: Sequence[LoggedEvent]) -> bool:
    """Tell whether one of these events may be the last of its job; a false alarm costs one read."""
    return any(mark in event.text for event in events for mark in _ENDS)


def outcomes_of(jobs: Sequence[Job]) -> list[Outcome]:
    """Return the outcome of each of these ended jobs."""
    return [_decode_outcome(job.result) for job in jobs]
