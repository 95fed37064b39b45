"""Every answer that a webapp, or what stands before it, may give is read as what it means."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from crowdai_broker.backends import webapp_answers as answers
from crowdai_broker.backends.webapp_answers import Answer, as_float, as_int, as_object, as_time
from crowdai_broker.core.webapp_model import Lookup
from crowdai_broker.errors import WebappDenied, WebappError, WebappRefused, WebappUnavailable

PAGE = b"<!DOCTYPE html><html><body>something</body></html>"
RESET = datetime(2017, 10, 30, 6, 2, 2, tzinfo=UTC)

READERS: dict[str, Callable[[Answer], object]] = {
    "participant": answers.participant,
    "challenge_config": answers.challenge_config,
    "challenge": answers.challenge,
    "registered": answers.registered,
    "graded": lambda answer: answers.graded(answer, 12),
    "submission_info": answers.submission_info,
    "submissions": answers.submissions,
}


def answer(status: int, content: Any, retry_after: float | None = None) -> Answer:
    """Return an answer with a body of JSON."""
    return Answer(status, msgspec.json.encode(content), retry_after)


class ValueTests(SynchronousTestCase):
    """Lenient reading."""

    def test_times(self) -> None:
        """Ruby's form and the ISO ones are the same aware time; what is none is ``None``."""
        same = [
            "2017-10-30 06:02:02 UTC",
            " 2017-10-30 06:02:02  UTC ",
            "2017-10-30T06:02:02Z",
            "2017-10-30T06:02:02.000Z",
            "2017-10-30T08:02:02+02:00",
            "2017-10-30 08:02:02 +0200",
            "2017-10-30 06:02:02",
        ]
        for text in same:
            self.assertEqual(as_time(text), RESET, text)
        none: list[Any] = [None, "", "soon", 1509343322, "2017-13-40", "0001-01-01T00:00:00+23:00", {}]
        for nothing in none:
            self.assertIsNone(as_time(nothing), str(nothing))

    def test_numbers(self) -> None:
        """Numbers in strings count; truth values, infinities and what is too large do not."""
        self.assertEqual([as_int(each) for each in (7, "7", " 7 ", -3)], [7, 7, 7, -3])
        for nothing in (True, "7.5", "", None, "x", 2**63, "9" * 30, 1.0):
            self.assertIsNone(as_int(nothing), str(nothing))
        self.assertEqual([as_float(each) for each in (1, "0.5", 2.5)], [1.0, 0.5, 2.5])
        none: list[Any] = [True, "nan", "inf", None, "", [], 10**400]
        for nothing in none:
            self.assertIsNone(as_float(nothing), str(nothing)[:20])

    def test_objects(self) -> None:
        """An object counts as it is and as text; anything else is none."""
        self.assertEqual(as_object('{"a": 1}'), {"a": 1})
        self.assertEqual(as_object({"a": 1}), {"a": 1})
        for nothing in ("[1]", "x", "", None, 3, "[" * 100_000):
            self.assertIsNone(as_object(nothing))

    def test_retry_after(self) -> None:
        """Seconds and dates are read, and bounded; nonsense is none."""
        self.assertEqual(answers.retry_after("7", 0), 7.0)
        self.assertEqual(answers.retry_after("Mon, 30 Oct 2017 06:02:02 GMT", RESET.timestamp() - 9), 9.0)
        self.assertEqual(answers.retry_after("Mon, 30 Oct 2017 06:02:02 GMT", RESET.timestamp() + 9), 0.0)
        self.assertEqual(answers.retry_after("999999", 0), answers.MAX_RETRY_AFTER)
        self.assertIsNone(answers.retry_after("later", 0))
        self.assertIsNone(answers.retry_after(None, 0))


class AnswerTests(SynchronousTestCase):
    """What each status means for each call."""

    def unavailable(self, call: str, given: Answer) -> WebappUnavailable:
        """Return the error that an answer is read as."""
        with self.assertRaises(WebappUnavailable) as caught:
            READERS[call](given)
        error: WebappUnavailable = caught.exception
        return error

    def test_registered(self) -> None:
        """A 202 is the submission; ids and numbers may come as strings."""
        content = {"message": "Participant X scored", "submission_id": "12", "submissions_remaining": "4"}
        made = answers.registered(answer(202, content | {"reset_dttm": "2017-10-30 06:02:02 UTC"}))
        self.assertEqual((made.submission_id, made.submissions_remaining), (12, 4))
        self.assertEqual(made.reset_dttm, RESET)

    def test_refused(self) -> None:
        """A 400 carries the webapp's words and the slots; without words there is still a sentence."""
        content = {"message": "No.", "submission_id": None, "submissions_remaining": 0}
        for call in ("registered", "graded"):
            with self.assertRaises(WebappRefused) as caught:
                READERS[call](answer(400, content | {"reset_dttm": "2017-10-30 06:02:02 UTC"}))
            refusal = caught.exception
            self.assertEqual((refusal.message, refusal.submissions_remaining), ("No.", 0))
            self.assertEqual(refusal.reset_dttm, RESET)
            for body in (PAGE, b"", b"[]", b'{"message": {}}'):
                with self.assertRaises(WebappRefused) as caught:
                    READERS[call](Answer(400, body))
                self.assertIn("without saying why", caught.exception.message)

    def test_long_messages_are_cut(self) -> None:
        """A message is passed on up to its limit."""
        with self.assertRaises(WebappRefused) as caught:
            answers.registered(answer(400, {"message": "x" * 100_000}))
        self.assertEqual(len(caught.exception.message), answers.MAX_MESSAGE)

    def test_unreadable_success_is_in_doubt(self) -> None:
        """A 2xx without an id may have made the row: it is in doubt."""
        for body in (b"", PAGE, b"{", b"[]", b'{"submission_id": null}', b'{"submission_id": "x"}', b"\xff"):
            self.assertFalse(self.unavailable("registered", Answer(202, body)).definitely_not_done)

    def test_server_errors_are_in_doubt(self) -> None:
        """5xx may come after the work was done, 504 before; ``Retry-After`` is carried."""
        for status in (500, 502, 503, 504, 599):
            caught = self.unavailable("registered", Answer(status, PAGE, 7.0))
            self.assertEqual((caught.definitely_not_done, caught.retry_after), (False, 7.0))
            self.assertEqual(caught.still_at_work, status == 504)

    def test_turned_away_is_not_done(self) -> None:
        """Statuses with which nothing is done let the call be repeated; other odd ones do not."""
        for status in (301, 307, 308, 403, 404, 405, 413, 414, 429):
            self.assertTrue(
                self.unavailable("registered", Answer(status, PAGE)).definitely_not_done, str(status)
            )
        for status in (100, 204, 302, 303, 408, 409, 422, 499):
            self.assertFalse(
                self.unavailable("registered", Answer(status, b"")).definitely_not_done, str(status)
            )

    def test_denied(self) -> None:
        """A 401 is a denied key for every call, plain text or JSON."""
        for read in READERS.values():
            for body in (b"HTTP Token: Access denied.\n", b'{"message": "no"}'):
                with self.assertRaises(WebappDenied):
                    read(Answer(401, body))

    def test_a_page_is_not_a_participant(self) -> None:
        """Only the webapp's own 404 says that nobody has a key; a page from elsewhere says nothing."""
        self.assertIsNone(answers.participant(answer(404, {"message": "x", "participant_id": None})))
        self.unavailable("participant", Answer(404, PAGE))
        self.unavailable("participant", answer(200, {"participant_id": None}))

    def test_challenge_config(self) -> None:
        """Found, unknown, and a webapp too old to know the question."""
        lookup = answers.challenge_config(answer(200, {"config": {"number": 1}}))
        self.assertEqual((lookup.outcome, lookup.config), (Lookup.FOUND, {"number": 1}))
        self.assertIs(answers.challenge_config(answer(200, {"config": None})).outcome, Lookup.FOUND)
        self.assertIs(answers.challenge_config(answer(400, {"message": "no"})).outcome, Lookup.UNKNOWN)
        for body in (PAGE, b"", b'{"error": "Not Found"}'):
            self.assertIs(answers.challenge_config(Answer(404, body)).outcome, Lookup.UNSUPPORTED)
        self.unavailable("challenge_config", answer(200, {"config": [1]}))
        self.unavailable("challenge_config", Answer(400, PAGE))

    def test_rounds_are_read_leniently(self) -> None:
        """What is missing or garbled in a round is absent; a round without an id is left out."""
        rounds = [{"id": 1}, {"id": 2, "start_dttm": "?", "active": "yes"}, {"name": "?"}, 7]
        info = answers.challenge(answer(200, {"message": {"id": "28", "challenge_rounds": rounds}}))
        assert info is not None
        self.assertEqual([each.id for each in info.rounds], [1, 2])
        self.assertEqual((info.rounds[1].start, info.rounds[1].active), (None, False))
        none = answers.challenge(answer(200, {"message": {"id": 28, "challenge_rounds": None}}))
        assert none is not None
        self.assertEqual(none.rounds, ())
        self.unavailable("challenge", answer(200, {"message": "no challenge"}))

    def test_submission_info(self) -> None:
        """The body is a string of JSON; an object is taken too; 400 is no submission."""
        row = {"id": 3, "grading_status_cd": "graded", "score": "0.5", "meta": '{"a": 1}'}
        for body in (row, msgspec.json.encode(row).decode()):
            kept = answers.submission_info(answer(200, {"message": "x", "body": body}))
            assert kept is not None
            self.assertEqual((kept.id, kept.score, kept.meta), (3, 0.5, {"a": 1}))
        self.assertIsNone(answers.submission_info(answer(400, {"message": "no", "body": None})))
        self.unavailable("submission_info", answer(200, {"body": "nonsense"}))

    def test_a_list_without_meta_proves_nothing(self) -> None:
        """Where the list does not show ``meta``, a submission's absence from it cannot be concluded."""
        self.assertEqual(answers.submissions(answer(200, [])), [])
        self.assertEqual(answers.submissions(answer(200, [{"id": 1, "meta": None}]))[0].meta, None)
        lists: list[Any] = [[{"id": 1}], [{"id": 1, "meta": {}}, {"id": 2}], [{"meta": {}}], [1]]
        for listed in lists:
            self.unavailable("submissions", answer(200, listed))
        self.unavailable("submissions", answer(200, {"a": 1}))

    @given(
        st.sampled_from(sorted(READERS)),
        st.integers(100, 599),
        st.binary(max_size=60)
        | st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(
                        ["message", "config", "body", "id", "participant_id", "challenge_rounds"]
                    ),
                    inner,
                )
            ),
            max_leaves=8,
        ).map(msgspec.json.encode),
    )
    @settings(max_examples=100, deadline=None)
    def test_no_answer_breaks_a_reader(self, call: str, status: int, body: bytes) -> None:
        """Whatever comes is a value or a :class:`WebappError`."""
        try:
            READERS[call](Answer(status, body))
        except WebappError as error:
            self.assertTrue(str(error))
