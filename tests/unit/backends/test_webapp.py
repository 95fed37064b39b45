"""The webapp's client against the small webapp in memory, and against answers no webapp should give."""

from __future__ import annotations

from typing import Any, cast

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from treq.testing import StubTreq
from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.error import DNSLookupError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.iweb import IResponse

from crowdai_broker.backends.webapp import Outcome, Webapp, request_body
from crowdai_broker.core.webapp_model import GradeFields, RegisterFields
from crowdai_broker.demo.webapp import DemoWebapp
from crowdai_broker.errors import WebappUnavailable
from crowdai_broker.http_client import MAX_PARALLEL, Client
from tests.contracts import webapp_case
from tests.contracts.webapp_case import ADA, BROKER_KEY, register_fields


def client_of(webapp: DemoWebapp, observer: Any = lambda *_: None, clock: Clock | None = None) -> Webapp:
    """Return a client whose requests go to the small webapp without a network."""
    stub = cast("Client", StubTreq(webapp.resource))
    return Webapp("http://webapp.invalid/", BROKER_KEY, stub, clock or Clock(), observer=observer)


class InMemoryTests(webapp_case.WebappContract):
    """The contract, without sockets."""

    def setUp(self) -> None:
        """Make a webapp and a client of it."""
        self.wall = webapp_case.Wall()
        self.webapp = webapp_case.filled(DemoWebapp(Clock(), BROKER_KEY, clock=self.wall))
        self.outcomes = []
        self.client = client_of(self.webapp, self.observe)


class Scripted:
    """A client whose requests end as a test says, and which counts them."""

    def __init__(self, result: Any = None) -> None:
        self.requests: list[tuple[str, str, dict[str, Any]]] = []
        self.pending: list[Deferred[IResponse]] = []
        self.cancelled = 0
        self._result = result

    def request(self, method: str, url: str, **kwargs: Any) -> Deferred[IResponse]:
        """Remember the request; fail as scripted, or never end."""
        self.requests.append((method, url, kwargs))
        if self._result is not None:
            return defer.fail(self._result)
        self.pending.append(Deferred(self._cancel))
        return self.pending[-1]

    def _cancel(self, _pending: object) -> None:
        self.cancelled += 1


class FailureTests(SynchronousTestCase):
    """Each way to fail says whether the webapp can have acted."""

    def setUp(self) -> None:
        """Begin at time zero."""
        self.clock = Clock()
        self.outcomes: list[tuple[str, Outcome]] = []

    def client(self, scripted: Scripted) -> Webapp:
        """Return a client on top of a scripted one."""

        def observe(call: str, outcome: Outcome) -> None:
            self.outcomes.append((call, outcome))

        return Webapp("http://h", "k", scripted, self.clock, 10.0, observe)

    def failed(self, running: Deferred[Any]) -> WebappUnavailable:
        """Return what a call failed with."""
        failure = self.failureResultOf(running, WebappUnavailable)
        assert isinstance(failure.value, WebappUnavailable)
        return failure.value

    def test_nobody_there_means_not_done(self) -> None:
        """Refused connections and unknown hosts let a registration be repeated."""
        for error in (Refused(), DNSLookupError()):
            client = self.client(Scripted(error))
            caught = self.failed(Deferred.fromCoroutine(client.register(register_fields())))
            self.assertTrue(caught.definitely_not_done)
        self.assertEqual(self.outcomes, [("register", Outcome.NOT_DONE)] * 2)

    def test_a_broken_exchange_means_in_doubt(self) -> None:
        """Anything that ends an exchange which had begun leaves a registration in doubt."""
        client = self.client(Scripted(RuntimeError(f"about {ADA}")))
        caught = self.failed(Deferred.fromCoroutine(client.register(register_fields())))
        self.assertFalse(caught.definitely_not_done)
        self.assertNotIn(ADA, str(caught))
        self.assertEqual(self.outcomes, [("register", Outcome.UNKNOWN)])

    def test_time_out(self) -> None:
        """After the timeout the request is cancelled; it may be worked on yet. No timer is left."""
        scripted = Scripted()
        running = Deferred.fromCoroutine(self.client(scripted).register(register_fields()))
        self.clock.advance(9.9)
        self.assertNoResult(running)
        self.clock.advance(0.2)
        caught = self.failed(running)
        self.assertEqual((caught.definitely_not_done, caught.still_at_work), (False, True))
        self.assertEqual((scripted.cancelled, self.clock.getDelayedCalls()), (1, []))

    def test_parallel_calls_are_bounded(self) -> None:
        """Only so many requests are under way; one that never got its turn was certainly not done."""
        scripted = Scripted()
        client = self.client(scripted)
        running = [
            Deferred.fromCoroutine(client.register(register_fields())) for _ in range(MAX_PARALLEL + 1)
        ]
        self.assertEqual(len(scripted.requests), MAX_PARALLEL)
        last = running.pop()
        scripted.pending[0].errback(Refused())
        self.failed(running[0])
        self.assertEqual(len(scripted.requests), MAX_PARALLEL + 1)
        waiting = Deferred.fromCoroutine(client.register(register_fields()))
        waiting.cancel()
        self.assertTrue(self.failed(waiting).definitely_not_done)
        self.clock.advance(10)
        for each in [*running[1:], last]:
            self.assertFalse(self.failed(each).definitely_not_done)

    def test_a_cancelled_call_gives_its_turn_back(self) -> None:
        """Cancelling calls leaks no turn: as many as before may follow."""
        scripted = Scripted()
        client = self.client(scripted)
        for _ in range(MAX_PARALLEL * 2):
            running = Deferred.fromCoroutine(client.participant(ADA))
            running.cancel()
            self.failed(running)
        self.assertEqual(len(scripted.requests), MAX_PARALLEL * 2)

    def test_redirects_are_not_followed(self) -> None:
        """The key goes to no other address: the client is told not to follow."""
        scripted = Scripted()
        Deferred.fromCoroutine(self.client(scripted).participant(ADA))
        (method, url, options) = scripted.requests[0]
        self.assertEqual((method, url), ("GET", f"http://h/api/external_graders/{ADA}"))
        self.assertIs(options["allow_redirects"], False)

    def test_a_path_in_the_address_is_kept(self) -> None:
        """A webapp below a path is called there."""
        scripted = Scripted()
        client = Webapp("https://h:8443/crowd/ai/", "k", scripted, self.clock)
        Deferred.fromCoroutine(client.challenge(7))
        self.assertEqual(scripted.requests[0][1], "https://h:8443/crowd/ai/api/challenges/7")


class BodyTests(SynchronousTestCase):
    """What is sent to the webapp."""

    def test_meta_is_a_string_of_json(self) -> None:
        """``meta`` travels as text, from an object and from text alike."""
        both: list[dict[str, object] | str] = [{"a": 1}, '{"a":1}']
        for meta in both:
            body = msgspec.json.decode(request_body(GradeFields(grading_status="failed", meta=meta)))
            self.assertEqual(body["meta"], '{"a":1}')

    def test_zero_is_not_absent(self) -> None:
        """A score of zero is a score."""
        body = msgspec.json.decode(request_body(GradeFields(grading_status="graded", score=0.0)))
        self.assertEqual(body, {"grading_status": "graded", "score": 0.0})

    @given(st.text(), st.dictionaries(st.text(), st.text() | st.none() | st.lists(st.text())))
    @settings(max_examples=100, deadline=None)
    def test_any_text_can_be_sent(self, text: str, meta: dict[str, Any]) -> None:
        """No text makes a body that cannot be written, and none has a NUL in it."""
        fields = RegisterFields(api_key=text, challenge_client_name=text, grading_message=text, meta=meta)
        self.assertNotIn(b"\\u0000", request_body(fields))

    @given(st.text(max_size=40))
    @settings(max_examples=100, deadline=None)
    def test_any_name_is_asked_for_as_it_is(self, name: str) -> None:
        """The webapp gets the very name, or no request."""
        webapp = DemoWebapp(Clock(), BROKER_KEY)
        webapp.state.add_challenge(1, name)
        self.successResultOf(Deferred.fromCoroutine(client_of(webapp).challenge_config(name)))
        for seen in webapp.resource.seen:
            self.assertEqual(seen.call, "challenge_config")
        self.assertEqual(len(webapp.resource.seen), int(bool(name) and name.isprintable()))
