"""Several nodes and several peers: who follows what, from where, and gets each event once."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from crowdai_broker.config import LimitsConfig
from crowdai_broker.core.webapp_model import Registered, RegisterFields
from crowdai_broker.errors import PeerError

from .node_case import NodeCase
from .world import BOB, Participant, a_config, result_of


class ResumeTests(NodeCase):
    def test_resume_at_another_node(self) -> None:
        """A participant who goes on at another node gets each event once, in order, those missed first."""
        execution_id = self.ada.execute().execution_id
        job = self.take()
        job.progress(10)
        self.world.run(1)
        other = Participant(self.world.make_node("n2"))
        other.token = self.ada.token
        receipt = other.resume(execution_id, after=1)
        self.assertEqual(receipt["state"], "running")
        self.assertEqual(other.numbers, [2])
        self.assertEqual(receipt["event_no"], 2)
        job.progress(20)
        self.world.run(1)
        job.complete(score=1)
        self.world.run(2)
        self.assertEqual(other.numbers, list(range(2, len(self.ada.events) + 1)))
        self.assertEqual(other.events, self.ada.events[1:])
        self.assertEqual(set(other.channels), {"C::1"})
        self.assertEqual(other.acks, [])
        self.whole(self.ada)

    def test_resume_after_the_end(self) -> None:
        """Two days later the events are still there, and nothing goes on being followed; then they go."""
        execution_id = self.ada.execute().execution_id
        self.take().complete(score=1)
        self.world.run(2)
        self.world.clock.advance(47 * 3600)
        late = Participant(self.node)
        receipt = late.resume(execution_id)
        self.assertEqual(late.events, self.ada.events)
        self.assertEqual(receipt["state"], "finished")
        (job,) = receipt["jobs"]
        self.assertEqual((job["state"], job["submission_id"], job["attempts"]), ("complete", 1, 1))
        self.assertEqual(len(self.node.node.delivery), 0)
        self.world.clock.advance(2 * 3600)
        self.assertRaises(PeerError, Participant(self.node).resume, execution_id)

    def test_executions_of_others(self) -> None:
        """An execution is nobody's but its participant's, in its challenge."""
        execution_id = self.ada.execute().execution_id
        self.world.webapp.add_challenge("D")
        for stranger in (Participant(self.node, BOB), Participant(self.node, challenge="D")):
            self.assertRaises(PeerError, stranger.resume, execution_id)
            self.assertRaises(PeerError, stranger.status, execution_id=execution_id)
            self.assertEqual(stranger.events, [])
        self.assertRaises(PeerError, self.ada.resume, "no-such")

    def test_peer_that_left(self) -> None:
        """Nothing is sent to a peer that is gone; its job goes on, and the store stops telling the node."""
        subscription = self.ada.execute()
        self.node.node.participants.leave(subscription)
        self.assertEqual(self.world.redis.executions[subscription.execution_id].watchers, set())
        self.take().complete(score=1)
        self.world.run(2)
        self.assertEqual(self.ada.kinds(), ["ENQUEUED"])
        self.assertEqual(self.world.webapp.rows[1].status, "graded")

    def test_gap(self) -> None:
        """Events that got lost on their way from another node are read from the log, before the next one."""
        execution_id = self.ada.execute().execution_id
        second = self.world.make_node("n2")
        other = Participant(second)
        other.resume(execution_id)
        watchers = self.world.redis.executions[execution_id].watchers
        job = self.take()
        watchers.discard("n2")
        job.say("INFO", message="lost")
        self.world.run(1)
        watchers.add("n2")
        self.assertEqual(other.messages("INFO"), [])
        job.say("INFO", message="next")
        self.world.run(1)
        self.assertEqual(other.messages("INFO"), ["lost", "next"])
        watchers.discard("n2")
        job.complete(score=1)
        self.world.run(1)
        self.assertNotIn("COMPLETE", other.kinds())
        second.store.gap()
        self.whole(other)
        self.assertEqual(other.events, self.ada.events)

    def test_log_longer_than_a_read(self) -> None:
        """A log of many pieces comes whole."""
        self.begin(a_config(limits=LimitsConfig(progress_per_second=0)))
        execution_id = self.ada.execute("evaluate").execution_id
        job = self.take()
        for percent in range(700):
            job.progress(percent / 7)
        self.world.pump()
        late = Participant(self.node)
        late.resume(execution_id)
        self.assertEqual(len(late.events), 701)
        self.whole(late)

    def test_channel_of_its_own(self) -> None:
        """A second peer of the same session does not hear of the first one's executions."""
        self.ada.execute("evaluate")
        second = Participant(self.node)
        second.token = self.ada.token
        second.execute("evaluate", response_channel="C::2")
        self.assertEqual((set(self.ada.channels), set(second.channels)), ({"C::1"}, {"C::2"}))
        first, other = (
            {e["execution_id"] for e in self.ada.events},
            {e["execution_id"] for e in second.events},
        )
        self.assertEqual((len(first), len(other), first & other), (1, 1, set()))


class IdempotencyTests(NodeCase):
    def test_same_key_same_execution(self) -> None:
        """The same key is the same execution, whose events come again from the first on the new channel."""
        first = self.ada.execute(idempotency_key="k")
        self.take().complete(score=1)
        self.world.run(2)
        again = Participant(self.node)
        second = again.execute(idempotency_key="k", response_channel="C::again")
        self.assertEqual(second.execution_id, first.execution_id)
        self.assertEqual(again.events, self.ada.events)
        self.assertEqual(set(again.channels), {"C::again"})
        self.assertEqual(again.acks, self.ada.acks)
        self.assertEqual(len(self.world.webapp.rows), 1)

    def test_same_key_while_it_runs(self) -> None:
        """Asked for again at another node while it runs, both are told the rest and the result."""
        self.ada.execute(idempotency_key="k")
        job = self.take()
        other = Participant(self.world.make_node("n2"))
        other.execute(idempotency_key="k")
        job.complete(score=1)
        self.world.run(2)
        self.assertEqual(other.acks, self.ada.acks)
        self.assertEqual(len(self.world.redis.executions), 1)

    def test_key_of_another(self) -> None:
        """The same key of another participant, or in another challenge, is another execution."""
        self.world.webapp.add_challenge("D")
        for who in (self.ada, Participant(self.node, BOB), Participant(self.node, challenge="D")):
            who.execute("evaluate", idempotency_key="k")
        self.assertEqual(len(self.world.redis.executions), 3)

    def test_receipt_by_key(self) -> None:
        """A participant who never got the execution's id finds it by the key."""
        execution_id = self.ada.execute(idempotency_key="k").execution_id
        self.assertEqual(self.ada.status(idempotency_key="k")["execution_id"], execution_id)
        self.assertRaises(PeerError, self.ada.status, idempotency_key="another")

    def test_does_not_count(self) -> None:
        """Asking again for what was accepted is within every limit."""
        self.begin(a_config(limits=LimitsConfig(executions_per_minute=1)))
        for _ in range(5):
            self.ada.execute("evaluate", idempotency_key="k")
        self.assertIn("Too many", self.refusal("evaluate", idempotency_key="other"))


class CancelTests(NodeCase):
    def cancel(self, execution_id: str) -> list[str]:
        """Take an execution back; return which jobs were."""
        asked = {"session_token": self.ada.token, "execution_id": execution_id}
        receipt = result_of(self.node.node.participants.cancel([asked]))
        cancelled: list[str] = receipt["cancelled"]
        return cancelled

    def test_waiting_and_running(self) -> None:
        """A job whose order lies there is spared the grader; a running one's result is ignored."""
        execution_id = self.ada.execute(data=["a", "b"], parallel=True).execution_id
        running = self.take()
        running.progress(1)
        self.world.run(1)
        self.assertEqual(self.cancel(execution_id), [f"{execution_id}-0", f"{execution_id}-1"])
        self.assertEqual(self.world.grader.take_all(), [])
        running.complete(score=1)
        self.world.run(2)
        self.assertEqual([outcome.message[:9] for outcome in self.ada.acks[0]], ["Cancelled"] * 2)
        self.assertEqual(self.world.webapp.count("grade"), 0)
        self.assertEqual(self.cancel(execution_id), [])

    def test_while_it_is_registered(self) -> None:
        """A job cancelled while its registration is on its way ends; the submission is not lost sight of."""
        self.begin(a_config())
        self.ada.authenticate()
        self.world.webapp.down = True
        execution_id = self.ada.execute().execution_id
        webapp_register = self.world.webapp.register

        async def register(fields: object) -> object:
            self.cancel(execution_id)
            return await webapp_register(fields)  # type: ignore[arg-type]

        self.world.webapp.down = False
        self.patch(self.world.webapp, "register", register)
        self.world.run(5)
        self.assertEqual(self.world.redis.effects, {})
        (job,) = self.world.jobs(execution_id)
        self.assertEqual((job.state.value, job.submission_id), ("cancelled", 1))
        self.assertEqual(self.world.grader.take_all(), [])
        self.assertEqual(len(self.ada.acks), 1)

    def test_before_it_is_registered(self) -> None:
        """A job cancelled before the webapp could be asked is never registered."""
        self.ada.authenticate()
        self.world.webapp.down = True
        execution_id = self.ada.execute().execution_id
        self.cancel(execution_id)
        self.world.webapp.down = False
        self.world.run(5)
        self.assertEqual((self.world.webapp.rows, self.world.redis.effects), ({}, {}))

    def test_execution_of_another(self) -> None:
        """Nobody cancels another's execution."""
        bob = Participant(self.node, BOB)
        execution_id = bob.execute().execution_id
        self.ada.authenticate()
        self.assertRaises(PeerError, self.cancel, execution_id)
        self.take()


class DeadNodeTests(NodeCase):
    def test_events_of_a_dead_node(self) -> None:
        """Another node takes over a dead node's list: events that lay there, and those that come later."""
        execution_id = self.ada.execute().execution_id
        job = self.take()
        job.progress(10)
        job.progress(20)
        self.world.kill(self.node)
        self.node = self.world.make_node("n2")
        late = Participant(self.node)
        late.resume(execution_id)
        self.world.run(16)
        self.assertEqual(late.kinds()[-2:], ["PROGRESS_UPDATE"] * 2)
        job.complete(score=1)
        self.world.run(2)
        self.assertEqual(late.kinds()[-1], "COMPLETE")
        self.assertEqual(self.world.webapp.rows[1].status, "graded")
        self.whole(late)

    def test_node_that_was_only_cut_off(self) -> None:
        """What a node sent before it was cut off from the store has its time before others ask about it."""
        self.ada.authenticate()
        answers: list[Deferred[None]] = []
        register = self.world.webapp.register

        async def slow(fields: RegisterFields) -> Registered:
            answers.append(Deferred())
            await answers[-1]
            return await register(fields)

        self.patch(self.world.webapp, "register", slow)
        self.ada.execute()
        for _ in range(6):
            self.node.store.fail_next("beat", "before")
        second = self.world.make_node("n2")
        self.world.run(16)
        self.assertEqual(second.adopted, ["n1"])
        answers[0].callback(None)
        self.world.run(30)
        self.assertEqual((len(answers), len(self.world.webapp.rows)), (1, 1))
        self.take()

    def test_node_that_leaves(self) -> None:
        """What a node leaves on stopping is taken over at once, not after it is missed."""
        self.ada.execute()
        job = self.take()
        self.node.spawned("stop", self.node.node.stop())
        self.world.kill(self.node)
        second = self.world.make_node("n2")
        self.assertEqual(second.adopted, ["n1"])
        job.complete(score=1)
        self.world.run(2)
        self.assertEqual(self.world.webapp.rows[1].status, "graded")
