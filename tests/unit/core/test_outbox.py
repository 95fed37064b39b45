"""Outside effects are leased, settled once, and tried again with growing waits."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from crowdai_broker.core import outbox as outboxes
from crowdai_broker.core.delivery import Delivery
from crowdai_broker.core.lifecycle import noted
from crowdai_broker.core.model import OPEN, Effect, EffectKind, EffectState, Job
from crowdai_broker.core.outbox import Again, Outbox, Settled, Verdict
from crowdai_broker.testing import MemoryRedis, MemoryStore, Spawned
from tests.contracts.making import a_job, a_move, acceptance, effect

from .world import START, Tally, result_of

GRADE, REGISTER = EffectKind.GRADE, EffectKind.REGISTER


class OutboxTests(SynchronousTestCase):
    def setUp(self) -> None:
        """Make an outbox whose handler answers what the test says."""
        super().setUp()
        self.clock = Clock()
        self.clock.advance(START)
        self.redis = MemoryRedis(self.clock.seconds)
        self.store = MemoryStore(self.redis, "n1")
        self.spawned = Spawned()
        self.tally = Tally()
        self.handled: list[Effect] = []
        self.verdicts: list[Verdict | Deferred[Verdict]] = []
        self.settled: list[str] = []
        self.outbox = self.make("n1")
        self.outbox.start()
        self.addCleanup(self.outbox.stop)

    def make(self, node: str) -> Outbox:
        """Make a node's outbox."""
        return Outbox(
            self.clock,
            self.store,
            node,
            Delivery(self.store, node, self.spawned),
            self.spawned,
            self.tally,
            {GRADE: self.handle, REGISTER: self.handle},
            lease=60,
            on_settled=lambda job: self.settled.append(job.job_id),
            jitter=lambda: 1.0,
        )

    async def handle(self, effect: Effect, job: Job) -> Verdict:
        """Do what the test says; without a word settle it."""
        self.handled.append(effect)
        if not self.verdicts:
            return Settled(a_move(job.job_id, done=effect.kind))
        verdict = self.verdicts.pop(0)
        return await verdict if isinstance(verdict, Deferred) else verdict

    def accept(self, name: str = "x") -> None:
        """Store an execution whose job has an effect."""
        result_of(self.store.accept(acceptance(name, effects=[effect()])))
        self.outbox.poke()

    def run_for(self, seconds: int) -> None:
        """Let time pass."""
        for _ in range(seconds):
            self.clock.advance(1)

    def tearDown(self) -> None:
        """Look whether background work failed."""
        super().tearDown()
        self.spawned.raise_if_failed()

    def test_settled(self) -> None:
        """An effect is handled as new, settled once, and its job's owner hears of it."""
        self.accept()
        (handled,) = self.handled
        self.assertEqual((handled.state, handled.tries), (EffectState.NEW, 1))
        self.assertEqual((self.redis.effects, self.settled), ({}, ["x-0"]))
        self.assertEqual(self.tally.tried, {(GRADE, "settled"): 1})

    def test_found_without_a_poke(self) -> None:
        """Effects that somebody else stored are found within a second."""
        result_of(self.store.accept(acceptance("x", effects=[effect()])))
        self.assertEqual(self.handled, [])
        self.clock.advance(1)
        self.assertEqual(len(self.handled), 1)

    def test_waits_grow(self) -> None:
        """Waits double from a second to a minute, and are spread by chance."""
        self.verdicts = [Again(EffectState.NEW, "down") for _ in range(12)]
        times: list[float] = []
        self.accept()
        for _ in range(600):
            before = len(self.handled)
            self.clock.advance(0.5)
            times += [self.clock.seconds() - START] * (len(self.handled) - before)
        waits = [later - earlier for earlier, later in zip([0.0, *times], times, strict=False)]
        for wait, least in zip(waits, [1, 2, 4, 8, 16, 32, 60, 60], strict=False):
            self.assertTrue(least <= wait <= least + 1.5, waits)

    def test_asked_to_wait(self) -> None:
        """A wait that was asked for is kept, but for an hour at most."""
        for asked, kept in ((100.0, 100), (1e9, 3600)):
            self.handled.clear()
            self.verdicts = [Again(EffectState.NEW, "busy", after=asked)]
            self.accept(f"x{kept}")
            for _ in range(kept // 10 - 1):
                self.clock.advance(10)
            self.assertEqual(len(self.handled), 1)
            self.run_for(12)
            self.assertEqual(len(self.handled), 2)

    def test_told_once(self) -> None:
        """A participant is told once that something waits, and once more if it is held."""
        job = a_job("x")
        self.verdicts = [
            Again(EffectState.NEW, "down", noted(job, OPEN, "it waits"), after=1) for _ in range(3)
        ]
        self.verdicts += [Again(EffectState.HELD, "doubt", noted(job, OPEN, "held"))]
        self.accept()
        self.run_for(10)
        texts = [event.text for event in result_of(self.store.events("x", 0, 9))]
        self.assertEqual(["it waits" in text for text in texts], [True, False])
        self.assertIn("held", texts[1])
        self.assertEqual(len(self.handled), 4)
        self.assertEqual(self.tally.tried, {(GRADE, "again"): 3, (GRADE, "held"): 1})

    def test_job_is_gone(self) -> None:
        """An effect whose job is not there any more is held, not tried for ever."""
        result_of(self.store.accept(acceptance("x", effects=[effect()])))
        del self.redis.jobs["x-0"]
        self.outbox.poke()
        self.assertEqual([held.note for held in result_of(self.store.held_effects(9))], ["its job is gone"])

    def test_otherwise(self) -> None:
        """If the job has moved meanwhile the other move says how the effect ended."""
        refused = a_move("x-0", expect=frozenset(), done=GRADE)
        self.verdicts = [Settled(refused, a_move("x-0", "other", done=GRADE))]
        self.accept()
        self.assertEqual(self.redis.effects, {})
        self.assertIn("other", result_of(self.store.events("x", 0, 9))[0].text)

    def test_bounded(self) -> None:
        """No more effects are worked on than the bound; each that ends makes room for the next."""
        waiting: list[Deferred[Verdict]] = [Deferred() for _ in range(outboxes.AT_ONCE + 5)]
        self.verdicts = list(waiting)
        drafts = [effect()]
        for number in range(len(waiting)):
            result_of(self.store.accept(acceptance(f"x{number}", effects=drafts)))
        self.run_for(3)
        self.assertEqual(len(self.handled), outboxes.AT_ONCE)
        for number, each in enumerate(waiting):
            each.callback(Settled(a_move(f"{self.handled[number].job_id}", done=GRADE)))
        self.assertEqual((len(self.handled), self.redis.effects), (len(waiting), {}))

    def test_lease_of_a_dead_node(self) -> None:
        """A try that never ends is taken over by another node, as one that may have happened."""
        other = self.make("n2")
        other.start()
        self.addCleanup(other.stop)
        never: Deferred[Verdict] = Deferred()
        self.verdicts = [never]
        self.accept()
        self.run_for(59)
        self.assertEqual(len(self.handled), 1)
        self.outbox.stop()
        self.run_for(2)
        self.assertEqual([handled.state for handled in self.handled], [EffectState.NEW, EffectState.SENT])
        never.callback(Again(EffectState.NEW, "late"))
        self.assertEqual(self.redis.effects, {})

    def test_lease_that_runs_out_under_work(self) -> None:
        """An effect that a node still works on is not begun a second time there."""
        slow: Deferred[Verdict] = Deferred()
        self.verdicts = [slow]
        self.accept()
        self.run_for(200)
        self.assertEqual(len(self.handled), 1)
        slow.callback(Settled(a_move("x-0", done=GRADE)))
        self.assertEqual((self.redis.effects, self.settled), ({}, ["x-0"]))

    def test_answer_that_cannot_be_stored(self) -> None:
        """An answer is stored as soon as the store takes it, and given up in the end."""
        for _ in range(3):
            self.store.fail_next("move", "before")
        self.accept()
        self.assertEqual(self.settled, [])
        self.run_for(4)
        self.assertEqual((self.settled, len(self.handled)), (["x-0"], 1))
        for _ in range(int(outboxes.INSIST_FOR) + 1):
            self.store.fail_next("move", "before")
        self.accept("y")
        self.run_for(int(outboxes.INSIST_FOR) - 1)
        self.assertEqual((len(self.handled), self.settled), (2, ["x-0"]))
        self.run_for(100)
        self.assertEqual((len(self.handled), self.settled), (3, ["x-0", "y-0"]))
        self.assertIs(self.handled[2].state, EffectState.SENT)

    def test_store_away_before_anything_was_sent(self) -> None:
        """A try that cannot begin before its lease is old is given back as what it was, and leased anew."""
        for _ in range(20):
            self.store.fail_next("job", "before")
        self.accept()
        self.run_for(22)
        (handled,) = self.handled
        self.assertEqual((handled.state, handled.tries), (EffectState.NEW, 2))

    def test_lease_whose_answer_was_lost(self) -> None:
        """A lease that the node never heard of is no doubt: the effect is handled at once, as new."""
        self.store.fail_next("lease_effects", "after")
        self.accept()
        self.assertEqual(self.handled, [])
        self.run_for(1)
        self.assertEqual([(effect.state, effect.tries) for effect in self.handled], [(EffectState.NEW, 1)])
        self.assertEqual(self.redis.effects, {})

    def test_too_late_to_begin(self) -> None:
        """Work that could not begin within some seconds of its lease is not begun: another may have it."""
        job = self.store.job
        wait: Deferred[None] = Deferred()

        async def slow(job_id: str) -> Job | None:
            await wait
            return await job(job_id)

        self.patch(self.store, "job", slow)
        self.accept()
        self.run_for(int(outboxes.BEGIN_WITHIN) + 1)
        self.patch(self.store, "job", job)
        wait.callback(None)
        self.run_for(2)
        self.assertEqual([(effect.state, effect.tries) for effect in self.handled], [(EffectState.NEW, 2)])

    def test_stopped(self) -> None:
        """After its stop an outbox begins nothing, and what it works on is finished."""
        waits: Deferred[Verdict] = Deferred()
        self.verdicts = [waits]
        self.accept()
        self.outbox.stop()
        self.outbox.stop()
        result_of(self.store.accept(acceptance("y", effects=[effect()])))
        self.outbox.poke()
        waits.callback(Settled(a_move("x-0", done=GRADE)))
        self.run_for(5)
        self.assertEqual((len(self.handled), len(self.redis.effects)), (1, 1))

    def test_store_fails_on_looking(self) -> None:
        """A look that fails is followed by another."""
        self.store.fail_next("lease_effects", "before")
        self.accept()
        self.assertEqual(self.handled, [])
        self.run_for(1)
        self.assertEqual(len(self.handled), 1)
