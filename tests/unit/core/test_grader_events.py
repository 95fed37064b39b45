"""What graders break is repaired or dropped; no bytes from a grader raise anything."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from crowdai_broker.core import grader_events
from crowdai_broker.core.events import MAX_MESSAGE, JobEvent
from crowdai_broker.core.grader_events import GraderEvent, Unusable, as_finite, read
from crowdai_broker.core.lifecycle import finished, progressed
from crowdai_broker.core.model import JobState
from tests.contracts.making import a_job

from .json_values import few, objects, values

NAMES = ("job_id", "data_sequence_no", "response_type", "job_state", "data", "message")
WHOLE = {"data_sequence_no": 7, "response_type": "CrowdAI.Event.Job.INFO", "data": {}, "message": "m"}


def event_of(**fields: Any) -> GraderEvent:
    """Read a whole event changed by ``fields``; it must be usable."""
    event = read(json.dumps(WHOLE | fields).encode())
    assert isinstance(event, GraderEvent), event
    return event


def why_not(raw: bytes | None = None, **fields: Any) -> str:
    """Read an event that must be unusable; return why it is."""
    event = read(json.dumps(WHOLE | fields).encode() if raw is None else raw)
    assert isinstance(event, Unusable), event
    return event.why


class RepairTests(SynchronousTestCase):
    def test_whole(self) -> None:
        """An event as it should be is read as it is."""
        self.assertEqual(event_of(), GraderEvent("7", JobEvent.INFO, {}, "m"))

    def test_types_under_all_their_names(self) -> None:
        """The types of 2017 graders and bare words count like the present ones; ours and others do not."""
        for name in ("CrowdAI.Event.Job.COMPLETE", "crowdai.job_state.COMPLETE", "COMPLETE"):
            self.assertIs(event_of(response_type=name).kind, JobEvent.COMPLETE)
            self.assertIs(event_of(response_type=None, job_state=name).kind, JobEvent.COMPLETE)
        others: list[Any] = ["ENQUEUED", "WAITING", "complete", "", 3, {}, None, ["INFO"]]
        for other in others:
            self.assertEqual(why_not(response_type=other), "unknown_type")

    def test_numbers_as_strings_and_floats(self) -> None:
        """A number counts in every spelling that means an attempt; nothing else does."""
        for number in (7, "7", " 7 ", 7.0):
            self.assertEqual(event_of(data_sequence_no=number).number, "7")
        others: list[Any] = [
            None,
            True,
            7.5,
            -7,
            "seven",
            "\u0667",
            "7.0",
            "",
            "1" * 21,
            [7],
            {},
            10**30,
            -1.0,
            1e300,
        ]
        for other in others:
            self.assertEqual(why_not(data_sequence_no=other), "no_number")

    def test_job_id_of_any_kind(self) -> None:
        """The grader's own ``job_id`` means nothing here, whatever it is."""
        strange: list[Any] = [{"an": "object"}, None, [], 3]
        for job_id in strange:
            self.assertEqual(event_of(job_id=job_id), event_of())

    def test_messages(self) -> None:
        """A message is text: an object as its JSON, none as none, a long one cut."""
        self.assertEqual(event_of(message={"a": [1]}).message, '{"a":[1]}')
        self.assertEqual(event_of(message=None).message, "")
        self.assertEqual(event_of(message=3).message, "3")
        self.assertEqual(len(event_of(message="x" * 50_000).message), MAX_MESSAGE)
        left = {key: value for key, value in WHOLE.items() if key != "message"}
        event = read(json.dumps(left).encode())
        assert isinstance(event, GraderEvent)
        self.assertEqual(event.message, "")

    def test_failures_have_words(self) -> None:
        """A failure without a message says at least that it is one."""
        for kind in ("ERROR", "TIMEOUT"):
            for message in (None, ""):
                self.assertIn("grader", event_of(response_type=kind, message=message).message)

    def test_data_is_an_object(self) -> None:
        """Data that is no object becomes one."""
        self.assertEqual(event_of(data=None).data, {})
        self.assertEqual(event_of(data="").data, {})
        self.assertEqual(event_of(data=[1]).data, {"result": [1]})
        self.assertEqual(event_of(data=0).data, {"result": 0})

    def test_progress(self) -> None:
        """Progress is a number from 0 to 100, one in a string too; without one it is no progress."""
        cases: list[tuple[Any, float]] = [(5, 5.0), ("40", 40.0), (-3, 0.0), (250, 100.0), ("1e1", 10.0)]
        for given_as, percent in cases:
            event = event_of(response_type="PROGRESS_UPDATE", data={"percent_complete": given_as})
            self.assertEqual(event.data, {"percent_complete": percent})
        others: list[Any] = [None, "many", True, [], float("nan"), float("inf"), "nan"]
        for wrong in others:
            data = {"percent_complete": wrong}
            self.assertEqual(why_not(response_type="PROGRESS_UPDATE", data=data), "no_percent")
        self.assertEqual(why_not(response_type="PROGRESS_UPDATE", data=[5]), "no_percent")

    def test_what_is_no_event(self) -> None:
        """Bytes that are no JSON object are dropped, large ones unread."""
        for raw in (b"", b"x", b"[]", b"3", b"null", b"\xff\xfe", b"{", b'"a"', b'{"a":' * 5000):
            self.assertEqual(why_not(raw), "not_json")
        self.assertEqual(why_not(b" " * (grader_events.MAX_EVENT + 1)), "oversize")
        padding = b" " * (grader_events.MAX_EVENT - len(json.dumps(WHOLE)))
        self.assertIsInstance(read(json.dumps(WHOLE).encode() + padding), GraderEvent)

    def test_python_spellings(self) -> None:
        """NaN, infinity and bytes that are no UTF-8 do not cost the rest of an event."""
        data = {"score": float("nan"), "low": float("-inf"), "high": 1}
        self.assertEqual(event_of(data=data).data["high"], 1)
        raw = b'{"data_sequence_no": 7, "response_type": "INFO", "message": "caf\xe9"}'
        event = read(raw)
        assert isinstance(event, GraderEvent)
        self.assertEqual(event.message, "caf\ufffd")

    def test_depth(self) -> None:
        """Of data nested too deeply nothing is kept; a terminal event ends its job all the same."""
        for depth, deep in ((99, False), (101, True), (500, True)):
            nested: Any = []
            for _ in range(depth - 1):
                nested = {"a": [nested]} if len(json.dumps(nested)) % 2 and depth < 99 else [nested]
            if not deep:
                self.assertEqual(event_of(data={"x": nested}).data, {"x": nested})
                continue
            self.assertEqual(why_not(data=nested), "too_deep")
            self.assertEqual(why_not(message=nested), "too_deep")
            complete = event_of(response_type="COMPLETE", data=nested)
            self.assertEqual((complete.kind, complete.data), (JobEvent.ERROR, {}))
            self.assertIn("too deeply", complete.message)
            self.assertIs(event_of(response_type="TIMEOUT", data=nested).kind, JobEvent.TIMEOUT)

    def test_finite_numbers(self) -> None:
        """Only what is a finite number, also in a string, is one."""
        self.assertEqual([as_finite(v) for v in (1, "1.5", " 2 ", 0)], [1.0, 1.5, 2.0, 0.0])
        others: list[Any] = [
            None,
            True,
            False,
            "",
            "x",
            "nan",
            "inf",
            float("inf"),
            10**400,
            "9" * 400,
            "1_000",
            "\N{ARABIC-INDIC DIGIT ONE}",
            [],
            {},
        ]
        for wrong in others:
            self.assertIsNone(as_finite(wrong))


class AnythingTests(SynchronousTestCase):
    """What is read can be stored, whatever it was."""

    job = a_job("x", state=JobState.RUNNING, attempt="7", submission_id=3)

    def use(self, raw: bytes) -> None:
        """Read an event and make of it what the relay makes of it."""
        event = read(raw)
        if isinstance(event, GraderEvent):
            self.assertTrue(event.number.isdigit())
            for move in (progressed(self.job, event), finished(self.job, event, 1)):
                for draft in move.events:
                    msgspec.json.decode("{" + draft.fragment)

    @few
    @given(raw=st.binary(max_size=200))
    def test_any_bytes(self, raw: bytes) -> None:
        """No bytes raise anything."""
        self.use(raw)

    @few
    @given(value=objects(*NAMES) | values)
    def test_any_value(self, value: Any) -> None:
        """No JSON value raises anything, half surrogate pairs and NaN included."""
        self.use(json.dumps(value).encode())

    @few
    @given(
        kind=st.sampled_from(JobEvent),
        data=objects("score", "meta", "percent_complete", "comment", "data_sequence_no", "media_large")
        | values,
        message=values,
    )
    def test_any_data(self, kind: JobEvent, data: Any, message: Any) -> None:
        """No data or message of an event of a known job raises anything."""
        event = {"data_sequence_no": 7, "response_type": kind.value, "data": data, "message": message}
        self.use(json.dumps(event).encode())
        self.use(json.dumps(event, ensure_ascii=False).encode("utf-8", "surrogatepass"))
