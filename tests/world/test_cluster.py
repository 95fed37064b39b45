"""Several brokers on one Redis: restarted one after another under load, and missed when one dies."""

from __future__ import annotations

import os
import re
import signal
import time

from twisted.trial.unittest import SynchronousTestCase

from tests.chaos.count import Count, left_over
from tests.chaos.participant import Participant as Load
from tests.chaos.participant import read_again
from tests.chaos.work import PLAIN
from tests.chaos.world import SteppedBroker, World

from .broker.hands import Hands
from .broker.participant import Execution, Participant
from .broker.programs import Program, python, until

TAKEN_OVER = 30.0  # s within which others take over what a dead node had in hand
PAUSE = 20.0  # s that a participant of a node that stops may have to wait at most
PEOPLE = 6
THINK = 0.2  # s between two requests of a participant


class ClusterCase(SynchronousTestCase):
    """Has three brokers."""

    def begin(self, graders: int) -> None:
        """Start them, with graders and a webapp."""
        self.world = World(3, graders, PEOPLE)
        self.addCleanup(self.world.close)
        self.world.ready()


class RollingRestartTests(ClusterCase):
    def test_one_after_another_under_load(self) -> None:
        """Each of three is told to stop and started anew: nothing is lost, doubled or out of order."""
        self.begin(2)
        ports = self.world.ports
        self.people = [
            Load(f"Participant {n}", key, ports, n, THINK, 0) for n, key in enumerate(self.world.keys, 1)
        ]
        self.addCleanup(self.leave)
        for person in self.people:
            person.start()
        for broker in tuple(self.world.brokers):
            self.finished(10)
            self.restart(broker)
        self.finished(10)
        for person in self.people:
            person.enough()
        until(lambda: not any(person.open for person in self.people), "every end is known", PAUSE)
        until(lambda: not left_over(self.world.redis), "nothing is left to be done", TAKEN_OVER)
        self.look_over()

    def leave(self) -> None:
        """Let the participants end."""
        for person in self.people:
            person.leave()
        until(lambda: not any(person.is_alive() for person in self.people), "the participants left")

    def finished(self, more: int) -> None:
        """Wait until so many more requests have ended: none may wait for longer than a pause."""
        enough = self.count("finished") + more
        until(lambda: self.count("finished") >= enough, f"{more} more requests are finished", PAUSE)

    def count(self, name: str) -> int:
        """Add up what the participants counted."""
        return sum(person.counts[name] for person in self.people)

    def restart(self, broker: SteppedBroker) -> None:
        """Stop a broker as an operator does, and start it again."""
        self.assertEqual(broker.terminate(), 0)
        self.world.bring_back(broker)
        self.world.ready()

    def look_over(self) -> None:
        """Everything that was accepted ended, once and rightly, and its events can be read again."""
        state = self.world.webapp.state()
        count = Count(self.world.redis, state["submissions"], state["leaderboards"][PLAIN], self.people)
        self.assertEqual(count.wrong, [])
        self.assertGreater(count.numbers["registered once"], 30)
        self.assertGreater(self.count("links lost"), 0)
        for person in self.people:
            self.assertEqual(read_again(self.world.ports[0], person, PAUSE), [])


class DeathTests(ClusterCase):
    def test_taken_over(self) -> None:
        """What a killed node had in hand is finished by the others within 30 seconds, without a restart."""
        self.begin(0)
        victim, *others = self.world.brokers
        execution = self.participant(victim).execute({}, "submit")
        order = Hands(self.world.redis).take(PLAIN)
        order.running()
        execution.expect("RUNNING")
        victim.kill()
        died = time.monotonic()
        order.complete({"score": 0.25})
        follower = self.participant(others[0])
        followed = follower.listen(execution.channel)
        follower.ask("resume", execution_id=execution.execution_id)
        followed.expect("COMPLETE", TAKEN_OVER)
        (row,) = self.world.webapp.settled(1)
        self.assertLess(time.monotonic() - died, TAKEN_OVER)
        self.assertEqual((row["score"], row["posts"], row["patches"]), (0.25, 1, 1))
        self.whole(followed)

    def participant(self, broker: SteppedBroker) -> Participant:
        """Return a participant at a broker."""
        made = Participant(broker.port, self.world.keys[0], PLAIN)
        self.addCleanup(made.leave)
        made.authenticate()
        return made

    def whole(self, execution: Execution) -> None:
        """Check that each event came once and in order."""
        numbers = [event["event_no"] for event in execution.events]
        self.assertEqual(numbers, list(range(1, len(numbers) + 1)))


class CommandTests(SynchronousTestCase):
    def test_shown(self) -> None:
        """The command starts three, says how to kill one, starts that again, and ends cleanly on Ctrl-C."""
        command = Program(python("-m", "crowdai_broker.demo.cluster"), {"PYTHONUNBUFFERED": "1"})
        self.addCleanup(command.stop)
        lines: list[str] = []

        def said(pattern: str) -> str:
            lines.extend(line["text"] for line in command.unread() if line["text"] not in lines)
            found = re.search(pattern, "\n".join(lines))
            return found[1] if found else ""

        victim = int(until(lambda: said(r"kill -9 (\d+)"), "it says how to kill one", 60))
        os.kill(victim, signal.SIGKILL)
        back = int(until(lambda: said(r"is back, as process (\d+)"), "it is started again", 60))
        command.signal(signal.SIGINT)
        self.assertEqual(command.wait(30), 0)
        self.assertRaises(ProcessLookupError, os.kill, back, 0)
