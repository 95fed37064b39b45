"""A whole node and a webapp that is down, slow to answer or in doubt."""

from __future__ import annotations

from crowdai_broker.core.lifecycle import marks_of
from crowdai_broker.core.model import JobState
from crowdai_broker.core.webapp_model import RegisterFields
from crowdai_broker.errors import WebappDenied, WebappRefused, WebappUnavailable

from .node_case import NodeCase
from .world import ADA, a_config, result_of


class DownTests(NodeCase):
    def test_down_at_registration(self) -> None:
        """While the webapp is down a job waits unseen by graders; its participant is told once, not again."""
        self.ada.authenticate()
        self.world.webapp.down = True
        self.ada.execute()
        self.world.run(300, 1)
        (notice,) = self.ada.messages("INFO")
        self.assertIn("stored here and will be registered", notice)
        self.assertEqual(self.world.grader.take_all(), [])
        self.world.webapp.down = False
        self.world.run(61, 1)
        self.assertEqual(len(self.world.webapp.rows), 1)
        self.take().complete(score=1)
        self.world.run(2)
        self.assertEqual(self.ada.acks[0][0].data["submission_id"], 1)
        self.whole(self.ada)

    def test_down_at_grade(self) -> None:
        """The result reaches its participant at once, who is told that it is safe; it is posted later."""
        self.ada.execute()
        self.world.webapp.down = True
        self.take().complete(score=1)
        self.world.run(300, 1)
        self.assertEqual(self.ada.kinds(), ["ENQUEUED", "COMPLETE", "INFO"])
        self.assertIn("safe", self.ada.messages("INFO")[0])
        self.assertEqual(len(self.ada.acks), 1)
        self.world.webapp.down = False
        self.world.run(61, 1)
        self.assertEqual([grade.score for grade in self.world.webapp.rows[1].grades], [1.0])
        self.assertEqual(self.world.webapp.count("submission_info"), 0)
        self.assertEqual(self.world.redis.effects, {})
        self.assertEqual(len(self.node.node.delivery), 0)

    def test_waits_grow_and_are_bounded(self) -> None:
        """A webapp that is down for hours is asked ever less often, but once a minute at the least."""
        self.ada.authenticate()
        self.world.webapp.down = True
        self.ada.execute()
        self.world.run(3600, 1)
        tries = self.world.webapp.count("register")
        self.assertGreater(tries, 3600 / 65)
        self.assertLess(tries, 3600 / 30 + 12)

    def test_told_when_to_come_again(self) -> None:
        """A webapp that says how long it wants to be left alone is left alone that long."""
        self.ada.authenticate()
        busy = WebappUnavailable("429", definitely_not_done=True, retry_after=100)
        self.world.webapp.fail_next("register", "before", busy)
        self.ada.execute()
        self.world.run(99, 1)
        self.assertEqual(self.world.webapp.count("register"), 1)
        self.world.run(3, 1)
        self.assertEqual(len(self.world.webapp.rows), 1)

    def test_key_that_is_not_accepted(self) -> None:
        """A broker whose key the webapp denies keeps every job until the operator mends that."""
        self.ada.authenticate()
        for _ in range(3):
            self.world.webapp.fail_next("register", "before", WebappDenied("denied"))
        self.ada.execute()
        self.world.run(20, 1)
        self.assertEqual((self.world.webapp.count("register"), len(self.world.webapp.rows)), (4, 1))

    def test_known_challenge_while_down(self) -> None:
        """A challenge that was known stays known while the webapp is down, and so does a checked key."""
        self.ada.authenticate()
        self.world.webapp.down = True
        self.world.clock.advance(30)
        self.ada.authenticate()
        self.world.clock.advance(3600)
        self.ada.execute("evaluate")
        self.take()


class DoubtTests(NodeCase):
    def test_registration_whose_answer_is_lost(self) -> None:
        """A registration in doubt is found by its marks: no second submission is made."""
        self.world.webapp.fail_next("register", "after")
        self.ada.execute()
        self.assertEqual(self.world.grader.take_all(), [])
        self.assertIn("costs you no second slot", self.ada.messages("INFO")[0])
        self.world.run(12)
        self.assertEqual((self.world.webapp.count("register"), len(self.world.webapp.rows)), (1, 1))
        self.take().complete(score=1)
        self.world.run(2)
        self.assertEqual(self.ada.acks[0][0].data["submission_id"], 1)

    def test_registration_that_never_arrived(self) -> None:
        """A registration in doubt that is not in the list is made, and only then."""
        self.world.webapp.fail_next("register", "before")
        self.world.webapp.fail_next("submissions", "before")
        self.ada.execute()
        self.world.run(9)
        self.assertEqual(self.world.webapp.count("register"), 1)
        self.world.run(10)
        self.assertEqual(self.world.webapp.count("submissions"), 2)
        self.assertEqual((self.world.webapp.count("register"), len(self.world.webapp.rows)), (2, 1))
        self.take()

    def test_webapp_that_is_slow_to_act(self) -> None:
        """What was not answered in time may be done yet: it is not repeated before it had time to show."""
        late = WebappUnavailable("not in time", definitely_not_done=False, still_at_work=True)
        self.world.webapp.fail_next("register", "before", late)
        (job,) = self.world.jobs(self.ada.execute().execution_id)
        self.world.run(15)
        fields = RegisterFields(api_key=ADA, challenge_client_name="C", meta=marks_of(job))
        result_of(self.world.webapp.register(fields))  # what was sent, acted on only now
        self.world.run(20)
        self.assertEqual((self.world.webapp.count("register"), len(self.world.webapp.rows)), (2, 1))
        self.world.webapp.fail_next("grade", "before", late)
        self.take().complete(score=0.5)
        self.world.run(15)
        self.assertEqual(self.world.webapp.count("grade"), 1)
        self.world.run(20)
        self.assertEqual(self.world.webapp.count("grade"), 2)

    def test_doubt_without_the_organizers_key(self) -> None:
        """Without the organizer's key a doubt waits for an operator, and its participant is told so."""
        self.begin(a_config())
        self.world.webapp.fail_next("register", "after")
        execution_id = self.ada.execute().execution_id
        self.world.run(600, 2)
        self.assertEqual(self.world.webapp.count("register"), 1)
        (held,) = self.world.redis.held_effects(9)
        self.assertIn("organizer_api_key", held.note)
        self.assertIn("waits for them", self.ada.messages("INFO")[-1])
        self.assertEqual(self.node.tally.tried["register", "held"], 1)
        self.assertEqual(self.world.jobs(execution_id)[0].state, JobState.REGISTERING)

    def test_grade_whose_answer_is_lost(self) -> None:
        """A grade in doubt that the webapp shows is not posted again."""
        self.ada.execute()
        self.world.webapp.fail_next("grade", "after")
        self.take().complete(score=0.5, score_secondary=1)
        self.world.run(12)
        self.assertEqual(self.world.webapp.count("submission_info"), 1)
        self.assertEqual((self.world.webapp.count("grade"), len(self.world.webapp.rows[1].grades)), (1, 1))
        self.assertEqual(self.world.redis.effects, {})

    def test_grade_that_never_arrived(self) -> None:
        """A grade in doubt that the webapp does not show is posted again."""
        self.ada.execute()
        self.world.webapp.fail_next("grade", "before")
        self.take().complete(score=0.5)
        self.world.run(12)
        self.assertEqual((self.world.webapp.count("grade"), len(self.world.webapp.rows[1].grades)), (2, 1))

    def test_doubt_survives_a_denied_question(self) -> None:
        """A grade in doubt stays in doubt, whatever becomes of the question whether it is there."""
        errors = [
            WebappDenied("denied"),
            WebappUnavailable("refused", definitely_not_done=True),
            WebappUnavailable("lost", definitely_not_done=False),
        ]
        for error in errors:
            with self.subTest(error=type(error).__name__):
                self.begin()
                self.ada.execute()
                self.world.webapp.fail_next("grade", "after")
                self.world.webapp.fail_next("submission_info", "before", error)
                self.take().complete(score=0.5)
                self.world.run(60)
                self.assertEqual(self.world.webapp.count("submission_info"), 2)
                self.assertEqual(self.world.webapp.count("grade"), 1)
                self.assertEqual(self.world.redis.effects, {})

    def test_grade_that_is_refused(self) -> None:
        """A grade that the webapp refuses waits for an operator; the participant still has the result."""
        self.ada.execute()
        self.world.webapp.fail_next(
            "grade", "before", WebappRefused("This challenge_round_id does not exist")
        )
        self.take().complete(score=0.5)
        self.world.run(60)
        self.assertEqual(self.world.webapp.count("grade"), 1)
        self.assertIn("This challenge_round_id does not exist", self.ada.messages("INFO")[0])
        self.assertEqual(len(self.world.redis.held_effects(9)), 1)
        self.assertEqual(self.ada.acks[0][0].data["score"], 0.5)
