"""Graders on HTTP, written by strangers, between a broker and a webapp: real processes all of them."""

from __future__ import annotations

import json
from typing import Any, ClassVar
from urllib.parse import urlencode

from ..toolbox.http import Answer, request
from .case import WorldCase
from .grader_http_program import HttpGrader
from .participant import Execution
from .programs import until
from .world import ORGANIZER, Plan, World

EVENTS = "PostsEvents"
OWN = "GradesAtTheWebapp"
LATE = "ComesLater"
LISTS = "OnLists"
MOVED = "MovesToHttp"
FUNCTION = "grade_submission"


def file(key: str) -> dict[str, str]:
    """Return the data of a job."""
    return {"file_key": key}


def page(world: World, challenge: str, *submissions: tuple[int, str], **changes: str) -> Answer:
    """Ask as the webapp's own page does; return the answer."""
    fields = {
        "response_channel": "na",
        "session_token": "na",
        "api_key": world.keys[0],
        "grader_id": "CLEFChallenges",
        "challenge_client_name": challenge,
        "function_name": FUNCTION,
        "dry_run": "false",
        "parallel": "false",
        "enqueue_only": "true",
        "grader_api_key": world.broker_key,
        **changes,
    }
    pairs = list(fields.items())
    for number, key in submissions:
        row = {"file_key": key, "submission_id": number, "participant_id": 1, "challenge_round_id": 1}
        pairs += [(f"data[][{name}]", str(value)) for name, value in row.items()]
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    return request(world.broker.port, "POST", "/enqueue_grading_job", urlencode(pairs), headers)


class HttpCase(WorldCase):
    """A world with both kinds of HTTP graders."""

    events: ClassVar[HttpGrader]
    own: ClassVar[HttpGrader]

    @classmethod
    def config(cls, world: World, **over_http: HttpGrader) -> dict[str, Any]:
        """Return the broker's configuration with those challenges' graders."""
        config = world.config()
        for name, grader in over_http.items():
            config["challenges"][name] = {**config["challenges"][name], "grader": grader.table}
        return config

    def upload(self, challenge: str) -> int:
        """Let a submission be made on the webapp's own pages; return its number."""
        body = {
            "api_key": self.world.keys[0],
            "challenge_client_name": challenge,
            "grading_status": "submitted",
        }
        headers = {
            "Content-Type": "application/json",
            "Authorization": f"Token token={self.world.broker_key}",
        }
        made = request(self.world.webapp.port, "POST", "/api/external_graders", json.dumps(body), headers)
        self.assertEqual(made.status, 202, made.text)
        return int(json.loads(made.body)["submission_id"])

    def graded(self, number: int, score: float, status: str = "graded") -> None:
        """Wait until a submission has this grade, which must be its only one but for what went before."""

        def there() -> bool:
            (row,) = self.world.webapp.submissions(id=number)
            return bool(row["grading_status_cd"] == status and row["score"] == score)

        until(there, f"submission {number} is {status} with {score}")

    def outcome(self, execution: Execution) -> dict[str, Any]:
        """Return the outcome of an execution of one job."""
        (outcome,) = execution.result(40)
        return outcome


class HttpGraderTests(HttpCase):
    """Both kinds, and one that is away at first."""

    plan: ClassVar[Plan] = Plan(
        challenges={EVENTS: {}, OWN: {"grades_posted_by": "grader"}, LATE: {}, LISTS: {}}
    )
    late: ClassVar[HttpGrader]

    @classmethod
    def begin(cls, world: World) -> None:
        """Start both graders and the broker."""
        cls.events, cls.late = HttpGrader(), HttpGrader()
        cls.own = HttpGrader(world.webapp.api.rstrip("/"), ORGANIZER)
        for grader in (cls.events, cls.own):
            world.keep(grader.start())
        graders = {EVENTS: cls.events, OWN: cls.own, LATE: cls.late}
        world.launch(cls.config(world, **graders)).ready()

    def test_events(self) -> None:
        """A grader that posts events is relayed, and the broker puts the grade on the leaderboard, once."""
        execution = self.participant(EVENTS).execute(file("score:0.25"), FUNCTION)
        outcome = self.outcome(execution)
        self.assertEqual((outcome["data"]["score"], outcome["message"]), (0.25, "graded by somebody else"))
        self.assertEqual(execution.kinds(), ["ENQUEUED", "RUNNING", "PROGRESS_UPDATE", "COMPLETE"])
        number = outcome["data"]["submission_id"]
        self.graded(number, 0.25)
        form = self.events.order("score:0.25")["form"]
        self.assertEqual((form["data[][submission_id]"], form["grader_id"]), (str(number), EVENTS))
        self.assertEqual(form["api_key"], self.world.keys[0])
        statuses = [self.events.program.expect(saw="answer")["status"] for _ in range(3)]
        self.assertEqual(statuses, [200, 200, 410])

    def test_grades_at_the_webapp(self) -> None:
        """A grader that knows no broker grades at the webapp, nobody else does; the participant hears it."""
        execution = self.participant(OWN).execute(file("slow:0.5"), FUNCTION)
        outcome = self.outcome(execution)
        self.assertEqual((outcome["data"]["score"], outcome["message"]), (0.5, "graded by somebody else"))
        self.assertEqual(execution.kinds(), ["ENQUEUED", "RUNNING", "COMPLETE"])
        number = outcome["data"]["submission_id"]
        self.graded(number, 0.5)
        (row,) = self.world.webapp.submissions(id=number)
        self.assertEqual((row["posts"], row["patches"]), (1, 2))
        failing = self.outcome(self.participant(OWN).execute(file("fail:Row 7"), FUNCTION))
        self.assertEqual((failing["response_type"], failing["message"]), ("CrowdAI.Event.Job.ERROR", "Row 7"))

    def test_refused(self) -> None:
        """What a grader will not grade fails with its words, on the leaderboard, too."""
        outcome = self.outcome(self.participant(EVENTS).execute(file("refuse:No grader found"), FUNCTION))
        self.assertEqual(outcome["message"], "No grader found")
        until(
            lambda: self.world.webapp.submissions(
                grading_message="No grader found", grading_status_cd="failed"
            ),
            "the failure at the webapp",
        )

    def test_comes_later(self) -> None:
        """A job waits for a grader that is away; its participant is told, and told again when it is there."""
        execution = self.participant(LATE).execute(file("score:1"), FUNCTION)
        execution.expect("INFO", saying="Nobody is there")
        self.world.keep(self.late.start())
        self.assertEqual(self.outcome(execution)["data"]["score"], 1)
        self.assertIn("A grader is there again", execution.messages())

    def test_dry_run(self) -> None:
        """A dry run reaches the grader and not the webapp; the participant is told that it is one."""
        before = len(self.world.webapp.submissions())
        execution = self.participant(EVENTS).execute(file("score:0.125"), FUNCTION, dry_run=True)
        self.assertEqual(self.outcome(execution)["data"], {"score": 0.125})
        self.assertIn("dry run", execution.expect("ENQUEUED")["message"])
        form = self.events.order("score:0.125")["form"]
        self.assertEqual((form["dry_run"], form["data[][submission_id]"]), ("true", ""))
        self.assertEqual(len(self.world.webapp.submissions()), before)

    def test_from_the_page(self) -> None:
        """What is uploaded on the webapp's own pages is graded by each kind of grader, registered by none."""
        numbers = {name: self.upload(name) for name in (EVENTS, OWN, LISTS)}
        count = len(self.world.webapp.submissions())
        for name, number in numbers.items():
            answer = page(self.world, name, (number, f"score:0.{number}"))
            self.assertEqual(answer.status, 200, answer.text)
            self.assertIn("Successfully enqueued 1 Job", answer.text)
        order = self.hands.take("CLEFChallenges")
        self.assertEqual(order.job["extra_params"]["submission_id"], numbers[LISTS])
        order.complete({"score": float(f"0.{numbers[LISTS]}")})
        for number in numbers.values():
            self.graded(number, float(f"0.{number}"))
        self.assertEqual(len(self.world.webapp.submissions()), count)

    def test_page_again(self) -> None:
        """The same submission again is graded again, and shows the newer grade."""
        number = self.upload(EVENTS)
        for key, score in (("score:0.5", 0.5), ("score:0.75", 0.75)):
            self.assertEqual(page(self.world, EVENTS, (number, key)).status, 200)
            self.graded(number, score)

    def test_page_refused(self) -> None:
        """Whoever does not have the broker's key is refused, and so is what makes no sense."""
        self.assertEqual(page(self.world, EVENTS, (1, "score:1"), grader_api_key="x").status, 401)
        self.assertEqual(page(self.world, "Nowhere", (1, "score:1")).status, 400)
        self.assertEqual(page(self.world, EVENTS).status, 400)
        self.assertEqual(page(self.world, EVENTS, (1, "score:1"), api_key="x" * 1_000_000).status, 413)

    def test_forged_callback(self) -> None:
        """An address that was not given out is nobody's."""
        for path in ("x", "1-" + "A" * 43):
            answer = request(self.broker().port, "POST", f"/graders/events/{path}", "{}")
            self.assertEqual(answer.status, 404)


class CrashTests(HttpCase):
    """The broker is killed while graders on HTTP hold jobs."""

    plan: ClassVar[Plan] = Plan(challenges={EVENTS: {}, OWN: {"grades_posted_by": "grader"}})

    @classmethod
    def begin(cls, world: World) -> None:
        """Start both graders and the broker."""
        cls.events = HttpGrader()
        cls.own = HttpGrader(world.webapp.api.rstrip("/"), ORGANIZER)
        for grader in (cls.events, cls.own):
            world.keep(grader.start())
        cls.settings = cls.config(world, **{EVENTS: cls.events, OWN: cls.own})
        world.launch(cls.settings).ready()

    settings: ClassVar[dict[str, Any]]

    def test_killed(self) -> None:
        """What graders hold when the broker dies is heard by the next one, and graded once."""
        for name in (EVENTS, OWN):
            execution = self.participant(name).execute(file("hold:score:0.5"), FUNCTION)
            execution.expect("RUNNING", 30)
        self.broker().kill()
        self.world.launch(self.settings).ready()
        for grader in (self.events, self.own):
            grader.program.send({})
        self.world.webapp.settled(2, patience=60)
        scores = [row["score"] for row in self.world.webapp.submissions()]
        self.assertEqual(scores, [0.5, 0.5])


class MovingTests(HttpCase):
    """A challenge's graders move from Redis to HTTP while jobs are on their way."""

    plan: ClassVar[Plan] = Plan(
        challenges={MOVED: {"grader": {"max_in_flight": 2}, "job_timeout": 8, "max_parallel_jobs": 10}}
    )

    def test_moved(self) -> None:
        """Each job is graded once: held by a grader on Redis, lying on its list, or waiting in the broker."""
        participant = self.participant(MOVED)
        keys = [f"score:0.{number}" for number in range(1, 7)]
        execution = participant.execute([file(key) for key in keys], FUNCTION, parallel=True)
        held = self.hands.take(MOVED)
        held.running()
        execution.expect("RUNNING")
        until(lambda: self.hands.lying(MOVED) == 1, "the second order lies there")
        identity = execution.execution_id
        self.assertEqual(self.broker().terminate(), 0)
        grader = HttpGrader()
        self.world.keep(grader.start())
        self.world.launch(self.config(self.world, **{MOVED: grader})).ready()
        held.complete({"score": 0.1})
        self.world.webapp.settled(6, patience=60)
        rows = self.world.webapp.submissions()
        self.assertEqual(sorted(row["score"] for row in rows), [0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
        again = self.participant(MOVED)
        again.token = participant.token
        receipt = again.ask("execution_status", execution_id=identity)
        self.assertEqual({job["state"] for job in receipt["jobs"]}, {"complete"})
