"""Graders on HTTP: what they are sent, and what their answers mean."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, cast

from msgspec.structs import replace
from treq.testing import StubTreq
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.iweb import IResponse
from twisted.web.resource import Resource
from twisted.web.server import Request

from crowdai_broker.backends import http_graders
from crowdai_broker.backends.http_graders import AT_ONCE, MAX_REASON, REST, TIMEOUT, HttpGraders
from crowdai_broker.config import ChallengeConfig, GraderConfig, Secret
from crowdai_broker.core.capabilities import Capabilities
from crowdai_broker.core.model import Handing, Taken, order_text
from crowdai_broker.core.nested_form import parse
from crowdai_broker.errors import GraderBusy, GraderRefused, GraderUnreachable
from crowdai_broker.http_client import Client, NotConnected
from crowdai_broker.testing import MemoryStore
from tests.contracts.making import a_job
from tests.unit.core.world import result_of

URL = "http://grader.invalid/base"
PUBLIC = "https://broker.example"


class Grader(Resource):
    """Answers every POST as it is told, and keeps what it got."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.answer: tuple[int, bytes] = (200, b"ok")
        self.got: list[tuple[bytes, bytes]] = []

    def render_POST(self, request: Request) -> bytes:
        """Answer."""
        assert request.content is not None
        request.content.seek(0)
        self.got.append((request.path, request.content.read()))
        request.setResponseCode(self.answer[0])
        return self.answer[1]


def challenge(**grader: Any) -> ChallengeConfig:
    """Return a challenge with graders on HTTP."""
    return ChallengeConfig(grader=GraderConfig(kind="http", url=URL, **grader))


def order(data: Any, submission_id: int | None = 12, **fields: Any) -> Taken:
    """Return an order as the store hands it out."""
    text = {
        "function_name": "grade_submission",
        "data": data,
        "dry_run": False,
        "extra_params": {
            "api_key": "adas-key",
            "session_token": "",
            "client_response_channel": "C::1",
            "submission_id": submission_id,
        },
    }
    job = a_job("x", attempt="777", order=json.dumps(text)[:-2], participant_id=7)
    job = replace(job, **fields)
    return Taken(job, order_text(job, "777", "list"))


class FormTests(SynchronousTestCase):
    def setUp(self) -> None:
        """Have a grader that takes everything."""
        super().setUp()
        self.grader = Grader()
        self.capabilities = Capabilities(MemoryStore())
        client = cast("Client", StubTreq(self.grader))
        self.graders = HttpGraders(Clock(), client, self.capabilities, PUBLIC + "/")

    def sent(self, taken: Taken, **grader: Any) -> dict[str, Any]:
        """Hand an order out; return the form."""
        result_of(self.graders.dispatch(challenge(**grader), taken))
        path, body = self.grader.got.pop()
        self.assertEqual(path, b"/base/enqueue_grading_job")
        return parse(body)

    def test_whole(self) -> None:
        """The form is the one that public graders parse, and tells where events go."""
        form = self.sent(order({"file_key": "submissions/a b%c", "round": 1}, grader_id="pool"))
        url = f"{PUBLIC}/graders/events/{result_of(self.capabilities.of('777'))}"
        self.assertEqual(form.pop("callback_url"), url)
        rows = [{"submission_id": "12", "participant_id": "7", "file_key": "submissions/a b%c", "round": "1"}]
        self.assertEqual(
            form,
            {
                "response_channel": "C::1",
                "session_token": "na",
                "api_key": "adas-key",
                "grader_id": "pool",
                "challenge_client_name": "C",
                "function_name": "grade_submission",
                "data": rows,
                "dry_run": "false",
                "parallel": "false",
                "enqueue_only": "true",
            },
        )

    def test_secrets(self) -> None:
        """The participant's key is shared only where it is said; the token proves that it is the broker."""
        form = self.sent(order({}), share_api_key=False, token=Secret("s3cret"), queue="CLEF")
        self.assertEqual((form["api_key"], form["grader_api_key"], form["grader_id"]), ("", "s3cret", "CLEF"))
        self.assertEqual(self.sent(order({}))["grader_id"], "C")

    def test_numbers_are_the_brokers(self) -> None:
        """Nobody names another's submission in the data."""
        taken = order([{"file_key": "a", "submission_id": 1}, {"participant_id": 1, "file_key": "b"}])
        known = {"submission_id": "12", "participant_id": "7"}
        self.assertEqual(self.sent(taken)["data"], [{**known, "file_key": "a"}, {**known, "file_key": "b"}])

    def test_other_data(self) -> None:
        """Data that is no object goes as it is, beside the numbers; blank is what there is not."""
        known = {"submission_id": "", "participant_id": ""}
        for data, items in (
            ("x", ["x"]),
            (0.5, ["0.5"]),
            ([1, [2, None]], ["1", "[2,null]"]),
            ([], []),
            (None, [""]),
        ):
            self.assertEqual(self.sent(order(data, None, participant_id=0))["data"], [known, *items])

    def test_names_that_no_form_can_say(self) -> None:
        """A job whose data would be read as something else fails, and the participant is told why."""
        for name in ("a][submission_id", ""):
            with self.assertRaises(GraderRefused) as caught:
                result_of(self.graders.dispatch(challenge(), order({name: 1})))
            self.assertEqual(str(caught.exception), http_graders.CANNOT_BE_SAID)
        self.assertEqual(self.grader.got, [])

    def test_nothing_lies_around(self) -> None:
        """Orders are called out one by one; none lies where it could be counted or taken back."""
        config, job = challenge(max_in_flight=5), order({}).job
        self.assertEqual(
            (self.graders.handing(config), self.graders.room("C", config)), (Handing.BY_EFFECT, 5)
        )
        self.assertEqual(result_of(self.graders.untaken(config, "C")), 0)
        self.assertFalse(result_of(self.graders.lies(config, job)))
        self.assertFalse(result_of(self.graders.withdraw(config, job)))


class AnswerTests(SynchronousTestCase):
    def setUp(self) -> None:
        """Have a grader that answers what the test says."""
        super().setUp()
        self.grader = Grader()
        client = cast("Client", StubTreq(self.grader))
        self.graders = HttpGraders(Clock(), client, Capabilities(MemoryStore()), PUBLIC)

    def answer(self, status: int, body: bytes = b"") -> str:
        """Hand an order out; return how that failed, ``""`` if it did not."""
        self.grader.answer = (status, body)
        try:
            result_of(self.graders.dispatch(challenge(), order({})))
        except (GraderRefused, GraderUnreachable) as error:
            return f"{type(error).__name__}: {error}"
        return ""

    def test_taken(self) -> None:
        """200 is enough, whatever else it says."""
        for body in (b"", b"not JSON", b'{"message": "Task successfully submitted"}', b"x" * 1_000_000):
            self.assertEqual(self.answer(200, body), "")

    def test_refused(self) -> None:
        """400 with a message is the grader's answer, within a bound."""
        said = self.answer(400, b'{"message": " No grader found "}')
        self.assertEqual(said, "GraderRefused: No grader found")
        long = self.answer(400, json.dumps({"message": "x" * 5000}).encode())
        self.assertEqual(len(long), len("GraderRefused: ") + MAX_REASON)

    def test_anything_else(self) -> None:
        """Whatever else is answered says nothing about the job, and does not close the address to others."""
        pages = (
            b"",
            b"<html>",
            b"[]",
            b'{"message": ""}',
            b'{"message": 1}',
            b"[" * 5000,
            b'{"message": "x"}' * 9000,
        )
        answers = [(400, page) for page in pages]
        answers += [(status, b'{"message": "no"}') for status in (201, 202, 302, 401, 404, 429, 500, 503)]
        for status, body in answers:
            self.assertEqual(
                self.answer(status, body), f"GraderUnreachable: the grader answered with status {status}"
            )


class Slow:
    """A client whose calls end when the test says."""

    def __init__(self) -> None:
        self.calls: list[Deferred[IResponse]] = []

    def request(self, method: str, url: str, **kwargs: Any) -> Deferred[IResponse]:
        """Wait."""
        self.calls.append(Deferred())
        return self.calls[-1]


class AddressTests(SynchronousTestCase):
    """An address that does not answer holds up nobody else."""

    def setUp(self) -> None:
        """Have a client that waits."""
        super().setUp()
        self.clock = Clock()
        self.client = Slow()
        self.graders = HttpGraders(self.clock, self.client, Capabilities(MemoryStore()), PUBLIC)
        self.ends: list[Any] = []

    def call(self, **grader: Any) -> None:
        """Hand an order out; note how that ends."""
        config = ChallengeConfig(grader=GraderConfig(**{"kind": "http", "url": URL, **grader}))
        end = Deferred.fromCoroutine(self.graders.dispatch(config, order({})))
        end.addErrback(lambda failure: failure.value).addCallback(self.ends.append)

    def kinds(self) -> list[type]:
        """Return what the calls ended with."""
        return [type(end) for end in self.ends]

    def test_few_at_a_time(self) -> None:
        """Few calls are under way to one address; the next is not sent, and another address is called."""
        for _ in range(AT_ONCE + 1):
            self.call()
        self.assertEqual((len(self.client.calls), self.kinds()), (AT_ONCE, [GraderBusy]))
        self.call(url="http://another.invalid")
        self.assertEqual(len(self.client.calls), AT_ONCE + 1)
        self.client.calls[0].errback(NotConnected("Refused"))
        self.clock.advance(REST)
        self.call()
        self.assertEqual(len(self.client.calls), AT_ONCE + 2)

    def test_silence(self) -> None:
        """A call without an answer ends in time, and the address then rests: the others end at once."""
        self.call()
        self.clock.advance(TIMEOUT)
        self.call()
        self.assertEqual(len(self.client.calls), 1)
        first, second = self.ends
        self.assertIsInstance(first, GraderUnreachable)
        self.assertEqual(str(second), str(first))
        self.clock.advance(REST)
        self.call()
        self.assertEqual(len(self.client.calls), 2)

    def test_reasons_hold_no_secret(self) -> None:
        """However a call fails, its text names the kind of failure and nothing of the request."""
        failures: list[Callable[[], Exception]] = [
            lambda: NotConnected("ConnectionRefusedError"),
            lambda: ValueError("adas-key"),
        ]
        for make in failures:
            self.call()
            self.client.calls[-1].errback(make())
            self.clock.advance(REST)
        said = [str(end) for end in self.ends]
        self.assertEqual(
            said,
            [
                "the grader cannot be reached (ConnectionRefusedError)",
                "the grader did not answer (ValueError)",
            ],
        )
        self.assertEqual([end.__context__ for end in self.ends], [None, None])
