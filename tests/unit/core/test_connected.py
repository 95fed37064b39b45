"""Graders that are connected to a node: who gets which job, and what becomes of it when somebody goes."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from crowdai_broker.config import ChallengeTable, Config, Secret
from crowdai_broker.core.connected import CONFIRM, REST
from crowdai_broker.core.connected_grader import UNCONFIRMED, ConnectedGrader, Hello
from crowdai_broker.core.leases import EXTEND, LEASE
from crowdai_broker.core.model import JobState
from crowdai_broker.core.operators import Operators
from crowdai_broker.core.presence import NOBODY, SOMEBODY
from crowdai_broker.core.roster import GraderView
from crowdai_broker.core.sweep import ABANDONED

from .node_case import NodeCase
from .world import ORGANIZER, START, Participant, Running, a_config, result_of

TIMEOUT = 3600


def with_sockets(**grader: Any) -> Config:
    """Return a configuration in which the graders of ``C`` connect."""
    own = ChallengeTable(
        values={"number": 28, "organizer_api_key": Secret(ORGANIZER), "job_timeout": TIMEOUT},
        grader={"kind": "socketio", "token": Secret("token"), **grader},
    )
    return a_config({"C": own})


class FakePeer:
    """A grader's end of a connection, and the grader behind it."""

    def __init__(self, at: Running, name: str = "g", **hello: Any) -> None:
        self.node = at.node
        self.given: list[tuple[dict[str, Any], Callable[[bool], None]]] = []
        self.cancelled: list[str] = []
        self.dismissed = ""
        usual: dict[str, Any] = {"slots": 1, "functions": frozenset(), "challenges": frozenset({"C"})}
        self.grader: ConnectedGrader = self.node.connected.join(
            Hello(**{"grader_id": name, "key": name, **usual, **hello}), self
        )

    def give(self, order: dict[str, Any], answered: Callable[[bool], None]) -> None:
        """Be sent an order."""
        self.given.append((order, answered))

    def cancel(self, attempt_id: str) -> None:
        """Be told that nobody waits for an attempt."""
        self.cancelled.append(attempt_id)

    def dismiss(self, reason: str) -> None:
        """Be put out."""
        self.dismissed = reason
        self.lose()

    def lose(self, *, on_purpose: bool = False) -> None:
        """Lose the connection."""
        self.node.connected.leave(self.grader, on_purpose=on_purpose)

    def take(self) -> dict[str, Any]:
        """Confirm the oldest order, which must be there."""
        order, answered = self.given.pop(0)
        answered(True)
        return order

    def say(self, attempt_id: str, kind: str, message: str = "", **data: Any) -> bool:
        """Say something of an attempt; return whether it goes on."""
        event = {"response_type": f"CrowdAI.Event.Job.{kind}", "data": data, "message": message}
        raw = json.dumps(event).encode()
        return result_of(self.node.connected.hear(self.grader, attempt_id, [raw]))


class ConnectedCase(NodeCase):
    def setUp(self) -> None:
        """Have a challenge whose graders connect."""
        super().setUp()
        self.begin(with_sockets())

    def state(self) -> JobState:
        """Return where the newest job is."""
        return list(self.world.redis.jobs.values())[-1].state

    def cancel(self) -> None:
        """Let the participant take the newest execution back."""
        asked = {"session_token": self.ada.token, "execution_id": list(self.world.redis.executions)[-1]}
        result_of(self.node.node.participants.cancel([asked]))

    def messages(self) -> list[str]:
        """Return what the participant read."""
        return [event["message"] for event in self.ada.events if event["message"]]


class HandingOutTests(ConnectedCase):
    def test_a_job_is_graded(self) -> None:
        """An order goes to who is connected, without the participant's key; the result comes back."""
        grader = FakePeer(self.node)
        self.ada.execute(data={"a": 1})
        order = grader.take()
        self.assertEqual((order["data"], order["function_name"]), ({"a": 1}, "submit"))
        self.assertEqual(order["extra_params"]["api_key"], "")
        self.assertTrue(grader.say(order["attempt_id"], "RUNNING"))
        self.assertTrue(grader.say(order["attempt_id"], "COMPLETE", score=0.5))
        self.assertEqual(self.state(), JobState.COMPLETE)
        self.assertFalse(grader.say(order["attempt_id"], "COMPLETE", score=0.6))
        self.whole(self.ada)

    def test_waits_for_a_grader(self) -> None:
        """A job waits in the backlog until somebody is there."""
        self.ada.execute()
        self.assertEqual(self.state(), JobState.QUEUED)
        grader = FakePeer(self.node)
        grader.take()
        self.assertEqual(self.state(), JobState.DISPATCHED)

    def test_no_more_than_slots(self) -> None:
        """A grader holds no more jobs than it has slots, and gets the next one when one has ended."""
        grader = FakePeer(self.node, slots=2)
        for _ in range(3):
            self.ada.execute()
        first, _ = grader.take(), grader.take()
        self.assertEqual(grader.given, [])
        grader.say(first["attempt_id"], "ERROR", "no")
        grader.take()

    def test_few_orders_at_once(self) -> None:
        """Orders that were not confirmed are few: each may be large, and a connection holds only so much."""
        grader = FakePeer(self.node, slots=10)
        for _ in range(UNCONFIRMED + 1):
            self.ada.execute()
        self.assertEqual(len(grader.given), UNCONFIRMED)
        grader.take()
        self.assertEqual(len(grader.given), UNCONFIRMED)

    def test_who_has_most_room(self) -> None:
        """Jobs go where most slots are free."""
        small, large = FakePeer(self.node, "small"), FakePeer(self.node, "large", slots=3)
        for _ in range(3):
            self.ada.execute()
        self.assertEqual((len(small.given), len(large.given)), (1, 2))

    def test_functions(self) -> None:
        """A job goes only to who offers its function; it waits for that, and no attempt is counted."""
        other = FakePeer(self.node, "other", functions=frozenset({"train"}))
        self.ada.execute("submit")
        self.world.run(40)
        self.assertEqual((other.given, self.state()), ([], JobState.QUEUED))
        fit = FakePeer(self.node, "fit", functions=frozenset({"submit"}))
        fit.take()
        self.assertEqual(list(self.world.redis.jobs.values())[-1].attempts, 1)

    def test_other_challenges(self) -> None:
        """A grader gets nothing of challenges that it did not name."""
        other = FakePeer(self.node, challenges=frozenset({"D"}))
        self.ada.execute()
        self.world.run(10)
        self.assertEqual(other.given, [])

    def test_resized(self) -> None:
        """A grader that is about to end gets nothing more; one with more slots gets more at once."""
        grader = FakePeer(self.node)
        self.node.node.connected.resize(grader.grader, 0)
        self.ada.execute()
        self.assertEqual(grader.given, [])
        self.node.node.connected.resize(grader.grader, 1)
        grader.take()


class UnconfirmedTests(ConnectedCase):
    def test_no_answer(self) -> None:
        """An order that is not confirmed goes to another grader, and the participant reads why."""
        silent = FakePeer(self.node, "silent", slots=2)
        self.ada.execute()
        other = FakePeer(self.node, "other")
        self.world.run(CONFIRM + 1)
        other.take()
        self.assertEqual(len(silent.cancelled), 1)
        self.assertIn(
            "Attempt 1 of 3 was given up: its grader did not confirm it within 20 s. "
            "Your job goes to another grader.",
            self.messages(),
        )
        silent.given[0][1](True)  # too late
        self.assertEqual(silent.grader.held, {})

    def test_rests(self) -> None:
        """A grader that did not answer gets nothing for a while, even if nobody else is there."""
        silent = FakePeer(self.node)
        self.ada.execute()
        self.world.run(CONFIRM + 1)
        self.assertEqual(len(silent.given), 1)
        self.world.run(REST + 1)
        self.assertEqual(len(silent.given), 2)

    def test_declined(self) -> None:
        """A grader may decline; that is no attempt."""
        grader = FakePeer(self.node)
        self.ada.execute()
        for _ in range(5):
            grader.given.pop()[1](False)
            self.world.run(REST + 6)
        grader.take()
        self.assertEqual(list(self.world.redis.jobs.values())[-1].attempts, 1)

    def test_never_answered(self) -> None:
        """A job that no grader confirms fails after its last attempt, as the platform's fault."""
        FakePeer(self.node)
        self.ada.execute()
        self.world.run(3 * (CONFIRM + REST) + 10)
        self.assertEqual(self.state(), JobState.FAILED)
        self.assertIn("the last time its grader did not confirm it within 20 s", self.messages()[-1])


class LostTests(ConnectedCase):
    def begin_job(self) -> tuple[FakePeer, str]:
        """Return a grader that grades a job, and the attempt's name."""
        grader = FakePeer(self.node)
        self.ada.execute()
        attempt_id = grader.take()["attempt_id"]
        grader.say(attempt_id, "RUNNING")
        return grader, attempt_id

    def test_long_job(self) -> None:
        """A job of a grader that stays goes on for longer than any lease."""
        grader, attempt_id = self.begin_job()
        self.world.run(10 * LEASE)
        self.assertTrue(grader.say(attempt_id, "COMPLETE", score=1))
        self.assertEqual(self.state(), JobState.COMPLETE)

    def test_too_long(self) -> None:
        """A job that does not end within ``job_timeout`` is taken from its grader, which is told."""
        self.begin(with_sockets())
        grader, attempt_id = self.begin_job()
        self.world.run(TIMEOUT + 1, step=5)
        self.assertEqual(grader.cancelled, [attempt_id])
        self.assertIn("it did not finish within 3600 s", " ".join(self.messages()))
        grader.take()

    def test_lost(self) -> None:
        """A grader that is gone for longer than its lease loses its job to another."""
        grader, attempt_id = self.begin_job()
        grader.lose()
        other = FakePeer(self.node, "other")
        self.world.run(LEASE - 2)
        self.assertEqual(other.given, [])
        self.world.run(4)
        other.take()
        self.assertIn("the connection to its grader was lost", " ".join(self.messages()))
        again = FakePeer(self.node)
        self.assertFalse(again.say(attempt_id, "COMPLETE", score=1))

    def test_left(self) -> None:
        """The jobs of a grader that means to go are another's at once."""
        grader, _ = self.begin_job()
        other = FakePeer(self.node, "other")
        grader.lose(on_purpose=True)
        other.take()
        self.assertIn("its grader left", " ".join(self.messages()))

    def test_lost_before_it_confirmed(self) -> None:
        """An order that was on its way to a grader that is lost is another's at once."""
        grader = FakePeer(self.node)
        self.ada.execute()
        grader.lose()
        self.assertEqual(FakePeer(self.node, "other").take()["data"], "d")

    def test_back_in_time(self) -> None:
        """A grader that comes back and names its job goes on."""
        grader, attempt_id = self.begin_job()
        grader.lose()
        self.world.run(LEASE - 5)
        again = FakePeer(self.node, running=(attempt_id,))
        self.world.run(3 * LEASE)
        self.assertTrue(again.say(attempt_id, "COMPLETE", score=1))
        self.assertNotIn("given up", " ".join(self.messages()))

    def test_back_without_a_word(self) -> None:
        """A grader that names nothing may go on as well, if it says something of its job in time."""
        grader, attempt_id = self.begin_job()
        grader.lose()
        again = FakePeer(self.node)
        self.world.run(LEASE - 5)
        self.assertTrue(again.say(attempt_id, "PROGRESS_UPDATE", percent_complete=50))
        self.world.run(3 * LEASE)
        self.assertTrue(again.say(attempt_id, "COMPLETE", score=1))

    def test_back_before_it_was_missed(self) -> None:
        """A second connection of a grader takes over; the first one, perhaps half open, is put out."""
        grader, attempt_id = self.begin_job()
        again = FakePeer(self.node, running=(attempt_id,))
        self.assertIn("another grader", grader.dismissed)
        self.assertTrue(again.say(attempt_id, "COMPLETE", score=1))

    def test_started_anew(self) -> None:
        """A grader that comes back with nothing in hand gets its job again, as another attempt."""
        _, attempt_id = self.begin_job()
        again = FakePeer(self.node, running=())
        order = again.take()
        self.assertNotEqual(order["attempt_id"], attempt_id)
        self.assertIn("its grader was started anew", " ".join(self.messages()))

    def test_killed_and_started_anew(self) -> None:
        """That is so too if its end was seen before it came back."""
        grader, _ = self.begin_job()
        grader.lose()
        again = FakePeer(self.node, running=())
        again.take()
        self.assertIn("its grader was started anew", " ".join(self.messages()))

    def test_back_too_late(self) -> None:
        """What a grader names that is over is cancelled."""
        _, attempt_id = self.begin_job()
        self.cancel()
        again = FakePeer(self.node, running=(attempt_id, "nonsense", "12-" + "a" * 43))
        self.assertEqual(len(again.cancelled), 3)

    def test_anothers_job(self) -> None:
        """A grader of another challenge cannot touch a job, even if it knows its name."""
        _, attempt_id = self.begin_job()
        thief = FakePeer(self.node, "thief", challenges=frozenset({"D"}), running=(attempt_id,))
        self.assertEqual(thief.cancelled, [attempt_id])
        self.assertFalse(thief.say(attempt_id, "COMPLETE", score=1))
        self.assertEqual(self.state(), JobState.RUNNING)

    def test_made_up(self) -> None:
        """The name of an attempt cannot be made up from its number."""
        grader, attempt_id = self.begin_job()
        self.assertFalse(grader.say(attempt_id[:-1] + "_", "COMPLETE", score=1))
        self.assertEqual(self.state(), JobState.RUNNING)

    def test_cancelled(self) -> None:
        """A job that its participant takes back is cancelled at its grader, and its slot is free."""
        grader, attempt_id = self.begin_job()
        self.cancel()
        self.assertEqual(grader.cancelled, [attempt_id])
        self.assertFalse(grader.say(attempt_id, "COMPLETE", score=1))
        self.ada.execute()
        grader.take()

    def test_store_away(self) -> None:
        """A store that was away for longer than a lease costs no job that goes on."""
        grader, attempt_id = self.begin_job()
        for _ in range(60):
            self.node.store.fail_next("due_jobs", "before")
        for _ in range(round(60 - EXTEND)):
            self.node.store.fail_next("move", "before")
        self.world.run(60, step=1)
        self.world.run(LEASE)
        self.assertEqual(grader.cancelled, [])
        self.assertTrue(grader.say(attempt_id, "COMPLETE", score=1))

    def test_given_back_while_the_store_is_away(self) -> None:
        """A job that cannot be given back now comes back when its lease is over."""
        grader, _ = self.begin_job()
        self.node.store.fail_next("move", "before")
        grader.lose(on_purpose=True)
        other = FakePeer(self.node, "other")
        self.world.run(LEASE + 10)
        other.take()


class NodesTests(ConnectedCase):
    def setUp(self) -> None:
        """Have a second node."""
        super().setUp()
        self.second = self.world.make_node("n2")

    def test_connected_elsewhere(self) -> None:
        """A job that was accepted by one node is graded by a grader that is connected to another, at once."""
        grader = FakePeer(self.second)
        self.ada.execute()
        order = grader.take()
        grader.say(order["attempt_id"], "COMPLETE", score=1)
        self.assertEqual(self.state(), JobState.COMPLETE)

    def test_goes_on_elsewhere(self) -> None:
        """A grader whose node dies goes on with its job at another."""
        grader = FakePeer(self.second)
        self.ada.execute()
        attempt_id = grader.take()["attempt_id"]
        self.world.kill(self.second)
        again = FakePeer(self.node, running=(attempt_id,))
        self.world.run(3 * LEASE)
        self.assertTrue(again.say(attempt_id, "COMPLETE", score=1))

    def test_moves_while_its_node_lives(self) -> None:
        """A grader that goes on at another node is not robbed by the one that it was lost to."""
        grader = FakePeer(self.second)
        self.ada.execute()
        attempt_id = grader.take()["attempt_id"]
        grader.lose()
        again = FakePeer(self.node, running=(attempt_id,))
        self.world.run(3 * LEASE)
        self.assertTrue(again.say(attempt_id, "COMPLETE", score=1))

    def test_lost_with_its_node(self) -> None:
        """A job whose grader and node are both gone comes back."""
        grader = FakePeer(self.second)
        self.ada.execute()
        grader.take()
        self.world.kill(self.second)
        other = FakePeer(self.node, "other")
        self.world.run(LEASE + ABANDONED / 1000 + 2)
        self.assertEqual(other.take()["data"], "d")

    def test_cancelled_elsewhere(self) -> None:
        """A grader hears of a cancellation at another node when its lease is extended next."""
        grader = FakePeer(self.second)
        self.ada.execute()
        attempt_id = grader.take()["attempt_id"]
        self.cancel()
        self.world.run(EXTEND + 1)
        self.assertEqual(grader.cancelled, [attempt_id])
        self.assertEqual(grader.grader.held, {})

    def test_more_participants(self) -> None:
        """Participants of both nodes are served by one grader."""
        grader = FakePeer(self.node, slots=2)
        self.ada.execute()
        bob = Participant(self.second)
        bob.execute()
        self.assertEqual(len({grader.take()["attempt_id"] for _ in range(2)}), 2)


class PresenceTests(ConnectedCase):
    def test_nobody_and_somebody(self) -> None:
        """Who waits for a grader is told once that none is connected, and again when one comes."""
        self.ada.execute()
        self.world.run(10)
        self.assertEqual(self.messages().count(NOBODY), 1)
        grader = FakePeer(self.node)
        order = grader.take()
        grader.say(order["attempt_id"], "RUNNING")
        self.assertEqual(self.messages().count(SOMEBODY), 1)
        self.assertEqual(self.ada.kinds()[-2:], ["INFO", "RUNNING"])
        self.world.run(10)
        self.assertEqual(self.messages().count(NOBODY), 1)

    def test_all_are_busy(self) -> None:
        """Who waits for one that is connected, if busy, is not told that there is none."""
        FakePeer(self.node)
        for _ in range(2):
            self.ada.execute()
        self.world.run(10)
        self.assertNotIn(NOBODY, self.messages())

    def test_at_another_node(self) -> None:
        """A grader at another node counts, and its coming there is told here."""
        second = self.world.make_node("n2")
        self.ada.execute("train")
        self.world.run(5)
        self.assertEqual(self.messages().count(NOBODY), 1)
        grader = FakePeer(second, functions=frozenset({"submit"}))
        self.world.run(5)
        self.assertEqual(self.messages().count(SOMEBODY), 1)
        grader.lose()
        self.world.run(5)
        self.assertEqual(self.messages().count(NOBODY), 2)

    def test_ended_meanwhile(self) -> None:
        """Nobody is told of a grader about a job that has ended."""
        self.ada.execute()
        self.world.run(5)
        self.cancel()
        before = len(self.messages())
        FakePeer(self.node)
        self.world.run(5)
        self.assertEqual(len(self.messages()), before)

    def test_roster(self) -> None:
        """Operators see who is connected to which node, and how busy; those of a dead node are forgotten."""
        second = self.world.make_node("n2")
        FakePeer(second, "g", slots=2, functions=frozenset({"submit"}))
        self.ada.execute()
        self.world.run(2)
        status = result_of(Operators(self.node.clock, self.node.store, "operator").status())
        view = GraderView("g", ("C",), ("submit",), 2, 1, START * 1000)
        self.assertEqual(status.graders["n2"], [view])
        self.world.kill(second)
        self.world.run(20)
        status = result_of(Operators(self.node.clock, self.node.store, "operator").status())
        self.assertNotIn("n2", status.graders)

    def test_store_away(self) -> None:
        """What could not be told is told later."""
        for method in ("show", "shown", "backlog"):
            for _ in range(3):
                self.node.store.fail_next(method, "before")
        self.ada.execute()
        self.world.run(10)
        self.assertEqual(self.messages().count(NOBODY), 1)
        FakePeer(self.node, challenges=frozenset({"D"}))
        self.world.run(5)
        self.assertEqual(len(self.node.node.roster.here()), 1)
        self.assertIn("n1", result_of(self.node.store.shown()))
