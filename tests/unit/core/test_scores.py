"""From a grader's result to the leaderboard."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from twisted.trial.unittest import SynchronousTestCase

from crowdai_broker.core.events import MAX_MESSAGE
from crowdai_broker.core.scores import NoScore, failure_fields, grade_fields

from .json_values import few, objects, values

MARKS: dict[str, object] = {"broker_execution_id": "e", "broker_job": "e-0"}
MEDIA = {"media_large": "a", "media_thumbnail": "b", "media_content_type": "image/png"}


class GradeFieldsTests(SynchronousTestCase):
    def test_names(self) -> None:
        """What public graders call otherwise gets the webapp's names."""
        fields = grade_fields({"score": "0.5", "secondary_score": 2, "comment": "c"}, MARKS)
        self.assertEqual((fields.grading_status, fields.score, fields.score_secondary), ("graded", 0.5, 2.0))
        self.assertEqual(fields.description_markdown, "c")
        fields = grade_fields({"score": 0, "score_secondary": 1, "secondary_score": 2}, MARKS)
        self.assertEqual((fields.score, fields.score_secondary), (0.0, 1.0))

    def test_empty_counts_as_absent(self) -> None:
        """Null and empty members are not sent; an empty score is a missing one."""
        result = {"score": 1, "score_secondary": "", "comment": None, "meta": "", "media_large": ""}
        fields = grade_fields(result, MARKS)
        self.assertEqual((fields.score_secondary, fields.description_markdown, fields.meta), (None, "", None))
        for absent in ({}, {"score": None}, {"score": ""}):
            with self.assertRaises(NoScore) as caught:
                grade_fields(absent, MARKS)
            self.assertIn("no score", str(caught.exception))

    def test_no_finite_number(self) -> None:
        """A score that is no finite number says which score, and what it was."""
        for wrong in ("high", float("nan"), float("inf"), True, [1], {"a": 1}, "nan", 10**400):
            with self.assertRaises(NoScore) as caught:
                grade_fields({"score": wrong}, MARKS)
            self.assertIn("a score that", str(caught.exception))
            with self.assertRaises(NoScore) as caught:
                grade_fields({"score": 1, "secondary_score": wrong}, MARKS)
            self.assertIn("a score_secondary that", str(caught.exception))
            self.assertLess(len(str(caught.exception)), 300)

    def test_media_all_or_none(self) -> None:
        """The webapp takes the three media fields together: fewer of them are left out."""
        fields = grade_fields({"score": 1, **MEDIA}, MARKS)
        self.assertEqual((fields.media_large, fields.media_content_type), ("a", "image/png"))
        for name in MEDIA:
            fields = grade_fields({"score": 1, **MEDIA, name: None}, MARKS)
            self.assertEqual(
                (fields.media_large, fields.media_thumbnail, fields.media_content_type), ("",) * 3
            )

    def test_meta(self) -> None:
        """A grader's meta, object or string, is kept, and never hides the marks of the submission."""
        metas: list[Any] = [{"a": 1, "broker_job": "x"}, '{"a": 1, "broker_job": "x"}']
        for meta in metas:
            self.assertEqual(grade_fields({"score": 1, "meta": meta}, MARKS).meta, {"a": 1, **MARKS})
        for odd in ("text", "[1]", [1], 3):
            kept = grade_fields({"score": 1, "meta": odd}, MARKS).meta
            assert isinstance(kept, dict)
            self.assertEqual(kept.keys(), {"meta", *MARKS})

    def test_round(self) -> None:
        """A round is named by a number, and not at all by anything else."""
        self.assertEqual(grade_fields({"score": 1, "challenge_round_id": "4"}, MARKS).challenge_round_id, 4)
        self.assertIsNone(grade_fields({"score": 1, "challenge_round_id": "four"}, MARKS).challenge_round_id)

    def test_failure(self) -> None:
        """A failure always has a message, as the webapp demands, and no endless one."""
        self.assertEqual(failure_fields(" broken ").grading_message, "broken")
        self.assertTrue(failure_fields("  ").grading_message)
        self.assertEqual(len(failure_fields("x" * 20_000).grading_message), MAX_MESSAGE)

    @few
    @given(result=objects("score", "score_secondary", "meta", "comment", "challenge_round_id", *MEDIA))
    def test_anything(self, result: dict[str, Any]) -> None:
        """Whatever a grader returns is a grade with a finite score, or none for a reason."""
        try:
            fields = grade_fields(result, MARKS)
        except NoScore as problem:
            self.assertTrue(str(problem))
        else:
            self.assertIsInstance(fields.score, float)

    @few
    @given(value=values)
    def test_any_score(self, value: Any) -> None:
        """A score of any kind is taken as a finite number or refused."""
        try:
            fields = grade_fields({"score": value, "meta": value}, MARKS)
        except NoScore:
            return
        assert fields.score is not None
        self.assertLess(abs(fields.score), float("inf"))
