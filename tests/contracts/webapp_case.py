"""What any webapp must answer the broker's client: run against the small webapp in memory and on a port."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from datetime import UTC, datetime
from typing import Any

import msgspec
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from crowdai_broker.backends.webapp import Outcome, Webapp
from crowdai_broker.core.webapp_model import GradeFields, Lookup, RegisterFields
from crowdai_broker.demo import webapp_records as records
from crowdai_broker.demo.webapp import DemoWebapp
from crowdai_broker.errors import WebappDenied, WebappError, WebappRefused
from crowdai_broker.interfaces import IWebapp

NOW = 1_509_321_722.0  # 2017-10-30 00:02:02 UTC
BROKER_KEY = "key-of-the-broker"
ORGANIZER_KEY = "key-of-the-organizer"
ADA = "5762b9423a01f72662264358f071908c"


class Wall:
    """A wall clock that a test moves."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        """Return its time in seconds since the epoch."""
        return self.now


def register_fields(**fields: Any) -> RegisterFields:
    """Return fields that the webapp accepts, changed by ``fields``."""
    return RegisterFields(**({"api_key": ADA, "challenge_client_name": "Penguins"} | fields))


def filled(webapp: DemoWebapp) -> DemoWebapp:
    """Give a webapp one participant and one challenge with one open round of five submissions a day."""
    webapp.state.add_participant("Ada", ADA)
    webapp.state.add_challenge(
        28, "Penguins", organizer_api_key=ORGANIZER_KEY, title="Penguins of Palmer", config={"number": 28}
    )
    return webapp


class WebappContract(TestCase):
    """The calls of :class:`~crowdai_broker.interfaces.IWebapp`, one by one."""

    webapp: DemoWebapp
    client: Webapp
    wall: Wall
    outcomes: list[tuple[str, Outcome]]

    def observe(self, call: str, outcome: Outcome) -> None:
        """Keep what the client tells its observer."""
        self.outcomes.append((call, outcome))

    async def refused(self, call: Awaitable[Any]) -> WebappRefused:
        """Return the refusal that a call ends with."""
        try:
            await call
        except WebappRefused as refusal:
            return refusal
        raise AssertionError("it was not refused")

    def test_provides_the_interface(self) -> None:
        """The client is what the core asks for."""
        self.assertTrue(verifyObject(IWebapp, self.client))

    async def test_participant(self) -> None:
        """A key is turned into its participant's id; a key that nobody has into nothing."""
        self.assertEqual(await self.client.participant(ADA), 1)
        self.assertIsNone(await self.client.participant("f" * 32))
        self.assertEqual(self.outcomes, [("participant", Outcome.OK)] * 2)

    async def test_insane_keys_are_answered_without_a_call(self) -> None:
        """A key that could reach another path of the webapp never leaves the broker."""
        keys = ["", "a/b", "../challenges/28", "a b", "a\nb", "ключ", "a%2fb", "a?b", "x" * 129, "y" * 10_000]
        for key in keys:
            self.assertIsNone(await self.client.participant(key))
        self.assertEqual(list(self.webapp.resource.seen), [])

    async def test_challenge_config(self) -> None:
        """A challenge is found with its configuration, found without one, or unknown."""
        self.webapp.state.add_challenge(29, "Plain")
        found = await self.client.challenge_config("Penguins")
        self.assertEqual((found.outcome, found.config), (Lookup.FOUND, {"number": 28}))
        plain = await self.client.challenge_config("Plain")
        self.assertEqual((plain.outcome, plain.config), (Lookup.FOUND, None))
        self.assertIs((await self.client.challenge_config("Nothing")).outcome, Lookup.UNKNOWN)

    async def test_challenge_names_are_quoted(self) -> None:
        """Whatever a client calls a challenge, the webapp is asked for exactly that name or not at all."""
        for name in ("a&challenge_client_name=Penguins", "Pen guins", "+", "%50enguins", "naïve", "#/?"):
            self.assertIs((await self.client.challenge_config(name)).outcome, Lookup.UNKNOWN)
        self.webapp.state.add_challenge(30, "a&b=c +%20 ü#")
        self.assertIs((await self.client.challenge_config("a&b=c +%20 ü#")).outcome, Lookup.FOUND)
        asked = len(self.webapp.resource.seen)
        for name in ("", "x" * 256, "a\0b", "a\r\nb", "\ud800"):
            self.assertIs((await self.client.challenge_config(name)).outcome, Lookup.UNKNOWN)
        self.assertEqual(len(self.webapp.resource.seen), asked)

    async def test_challenge(self) -> None:
        """A challenge comes with its rounds, their dates as aware times."""
        info = await self.client.challenge(28)
        assert info is not None
        self.assertEqual((info.id, info.name, info.status), (28, "Penguins of Palmer", "running"))
        (only,) = info.rounds
        self.assertEqual((only.submission_limit, only.submission_limit_period), (5, "day"))
        self.assertEqual(only.start, datetime(2017, 10, 29, 0, 2, 2, tzinfo=UTC))
        self.assertTrue(only.active)
        self.assertIsNone(await self.client.challenge(99))

    async def test_register(self) -> None:
        """A registration makes one submission and tells how many more may be made, and until when."""
        marks = {"broker_execution_id": "e1", "broker_job": 0}
        made = await self.client.register(register_fields(meta=marks))
        self.assertEqual((made.submission_id, made.message), (1, "Participant Ada scored"))
        self.assertEqual(made.submissions_remaining, 4)
        self.assertEqual(made.reset_dttm, datetime(2017, 10, 31, 0, 2, 2, tzinfo=UTC))
        (row,) = self.webapp.state.submissions.values()
        self.assertEqual((row.grading_status, row.participant_id), ("submitted", 1))
        self.assertEqual(msgspec.json.decode(row.meta), marks)

    async def test_register_sends_only_what_is_given(self) -> None:
        """What is absent or empty is left out of the body, which is JSON; nothing is in the query."""
        await self.client.register(register_fields(grading_message="", meta={}))
        seen = self.webapp.resource.seen[-1]
        self.assertEqual(
            msgspec.json.decode(seen.body),
            {"api_key": ADA, "challenge_client_name": "Penguins", "grading_status": "submitted"},
        )
        self.assertEqual(seen.content_type, "application/json")
        self.assertEqual((seen.query, seen.authorization), ("", f"Token token={BROKER_KEY}"))

    async def test_refusals_of_a_registration(self) -> None:
        """The webapp's own words reach the caller for every reason it has."""
        state = self.webapp.state
        state.add_challenge(2, "Closed", rounds=[state.round(-9, -1)])
        first, second = state.round(-9, -1, minimum_score=0.9), state.round(-1, 9)
        state.add_challenge(3, "Second", rounds=[first, second])
        cases: list[tuple[dict[str, Any], str]] = [
            ({"api_key": "nobody"}, records.NO_PARTICIPANT),
            ({"challenge_client_name": "Nothing"}, records.NO_CHALLENGE),
            ({"challenge_client_name": "Closed"}, records.NOT_OPEN),
            ({"challenge_client_name": "Second"}, records.NOT_QUALIFIED),
            ({"challenge_round_id": 999}, records.NO_ROUND),
        ]
        for fields, message in cases:
            refusal = await self.refused(self.client.register(register_fields(**fields)))
            self.assertEqual(refusal.message, message)
        self.assertEqual(state.submissions, {})
        self.assertEqual(self.outcomes, [("register", Outcome.REFUSED)] * len(cases))

    async def test_a_refusal_may_come_after_the_row_was_made(self) -> None:
        """Wrong media or a grade without what it needs: refused, and a submission is there all the same."""
        cases: list[tuple[dict[str, Any], str]] = [
            ({"media_large": "only this"}, records.INCOMPLETE_MEDIA),
            ({"grading_status": "failed"}, records.NO_MESSAGE),
            ({"grading_status": "graded"}, records.NO_SCORE),
            ({"grading_status": "pending"}, records.NO_STATUS),
        ]
        for rows, (fields, message) in enumerate(cases, 1):
            refusal = await self.refused(self.client.register(register_fields(**fields)))
            self.assertEqual(refusal.message, message)
            self.assertEqual(len(self.webapp.state.submissions), rows)
        self.assertEqual(refusal.submissions_remaining, 2)

    async def test_slots(self) -> None:
        """After the last slot the refusal says when the next opens, and it opens then."""
        for _ in range(5):
            await self.client.register(register_fields())
            self.wall.now += 3600
        refusal = await self.refused(self.client.register(register_fields()))
        self.assertEqual(refusal.message, records.NO_SLOTS)
        self.assertEqual(refusal.submissions_remaining, 0)
        self.assertEqual(refusal.reset_dttm, datetime(2017, 10, 31, 0, 2, 2, tzinfo=UTC))
        self.wall.now = NOW + 86_401
        self.assertEqual((await self.client.register(register_fields())).submission_id, 6)

    async def test_failed_ones_may_not_count(self) -> None:
        """A round may forgive some failed submissions: they use up no slot."""
        (current,) = self.webapp.state.challenges[28].rounds
        current.submission_limit, current.failed_submissions = 1, 1
        made = await self.client.register(register_fields())
        fields = GradeFields(grading_status="failed", grading_message="Platform error: it broke")
        answer = await self.client.grade(made.submission_id, fields)
        self.assertEqual(answer.submissions_remaining, 1)

    async def test_parallel_limit(self) -> None:
        """A round may limit how many submissions wait for a grade; grading one lets the next in."""
        self.webapp.state.challenges[28].rounds[0].parallel_submissions = 1
        made = await self.client.register(register_fields())
        refusal = await self.refused(self.client.register(register_fields()))
        self.assertEqual(refusal.message, records.TOO_MANY_PARALLEL)
        await self.client.grade(made.submission_id, GradeFields(grading_status="graded", score=1.0))
        await self.client.register(register_fields())

    async def test_grade(self) -> None:
        """A grade puts its score on the leaderboard, and is added to what ``meta`` held."""
        made = await self.client.register(register_fields(meta={"broker_execution_id": "e1"}))
        fields = GradeFields(
            grading_status="graded",
            score=0.0,
            score_secondary=0.5,
            meta={"rows": 9},
            description_markdown="é",
        )
        answer = await self.client.grade(made.submission_id, fields)
        self.assertEqual((answer.submission_id, answer.message), (1, "Submission 1 updated"))
        self.assertEqual(answer.reset_dttm, datetime(2017, 10, 31, 0, 2, 2, tzinfo=UTC))
        kept = await self.client.submission_info(1)
        assert kept is not None
        self.assertEqual((kept.grading_status, kept.score, kept.score_secondary), ("graded", 0.0, 0.5))
        self.assertEqual(kept.meta, {"broker_execution_id": "e1", "rows": 9})
        (line,) = self.webapp.state.leaderboard(self.webapp.state.challenges[28])
        self.assertEqual((line["participant"], line["score"], line["entries"]), ("Ada", 0.0, 1))

    async def test_grading_twice_leaves_one_score(self) -> None:
        """The same grade again changes nothing on the leaderboard; the webapp keeps both in its history."""
        made = await self.client.register(register_fields())
        fields = GradeFields(grading_status="graded", score=0.7)
        for _ in range(2):
            await self.client.grade(made.submission_id, fields)
        (line,) = self.webapp.state.leaderboard(self.webapp.state.challenges[28])
        self.assertEqual((line["score"], line["entries"]), (0.7, 1))
        row = self.webapp.state.submissions[1]
        self.assertEqual((row.posts, row.patches, len(row.grades)), (1, 2, 3))

    async def test_grade_of_nothing_is_refused(self) -> None:
        """A grade for a submission that is not there is refused in the words of Rails."""
        refusal = await self.refused(self.client.grade(999, GradeFields(grading_status="graded", score=1.0)))
        self.assertEqual(refusal.message, "Couldn't find Submission with 'id'=999")

    async def test_text_that_no_database_takes_is_cleaned(self) -> None:
        """NUL and half surrogate pairs from a grader would be refused for ever: they are taken out."""
        made = await self.client.register(register_fields(meta={"a\0": ["b\0"]}))
        fields = GradeFields(grading_status="failed", grading_message="bad \0\ud800 thing")
        await self.client.grade(made.submission_id, fields)
        row = self.webapp.state.submissions[1]
        self.assertEqual((row.grading_message, row.meta), ("bad ? thing", '{"a":["b"]}'))

    async def test_submission_info_of_nothing(self) -> None:
        """No such submission is an answer, not an error."""
        self.assertIsNone(await self.client.submission_info(12345))

    async def test_submissions(self) -> None:
        """The organizer's key, and only in the header of this call, shows all submissions and their meta."""
        await self.client.register(register_fields(meta={"broker_execution_id": "e1"}))
        await self.client.register(register_fields())
        listed = await self.client.submissions(28, ORGANIZER_KEY)
        self.assertEqual(
            [(each.id, each.meta, each.grading_status) for each in listed],
            [(1, {"broker_execution_id": "e1"}, "submitted"), (2, None, "submitted")],
        )
        seen = self.webapp.resource.seen[-1]
        self.assertEqual((seen.authorization, seen.query), (f"Token token={ORGANIZER_KEY}", ""))
        await self.client.participant(ADA)
        self.assertEqual(self.webapp.resource.seen[-1].authorization, f"Token token={BROKER_KEY}")

    async def test_submissions_after(self) -> None:
        """Only with ``after`` is the list asked for from a time on."""
        await self.client.register(register_fields())
        self.wall.now += 100
        await self.client.register(register_fields())
        since = datetime.fromtimestamp(NOW + 50, UTC)
        self.assertEqual([each.id for each in await self.client.submissions(28, ORGANIZER_KEY, since)], [2])

    async def test_submissions_need_the_organizer(self) -> None:
        """Another key, the broker's own too, is denied the list."""
        for key in ("somebody", BROKER_KEY):
            await self.assertFailure(Deferred.fromCoroutine(self.client.submissions(28, key)), WebappDenied)

    async def test_check_key(self) -> None:
        """The probe passes where the key is accepted, and is denied where it is not."""
        await self.client.check_key()
        self.webapp.change_key("another key")
        await self.assertFailure(Deferred.fromCoroutine(self.client.check_key()), WebappDenied)
        self.assertEqual(self.outcomes, [("check_key", Outcome.OK), ("check_key", Outcome.DENIED)])

    async def test_no_error_holds_a_key(self) -> None:
        """Whatever goes wrong, neither the text nor the cause of the error shows anybody's key."""
        self.webapp.change_key("another key")
        calls: list[Callable[[], Coroutine[Any, Any, Any]]] = [
            lambda: self.client.participant(ADA),
            lambda: self.client.register(register_fields()),
            lambda: self.client.submissions(28, "wrong-organizer-key"),
        ]
        for call in calls:
            with self.assertRaises(WebappError) as caught:
                await call()
            error: BaseException | None = caught.exception
            while error is not None:
                for secret in (ADA, BROKER_KEY, "wrong-organizer-key"):
                    self.assertNotIn(secret, repr(error))
                error = error.__cause__ or error.__context__
        self.assertNotIn(ADA, repr(register_fields()))
