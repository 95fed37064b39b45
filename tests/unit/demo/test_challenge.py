"""The sample challenges are scored as their descriptions say, and bad predictions are explained."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from crowdai_broker.demo import challenge
from crowdai_broker.demo.challenge import MASS, PRACTICE, SPECIES, BadPredictions, answers


def quiet(_percent: float, _message: str) -> None:
    """Show no progress."""


def right_species() -> list[str]:
    """Return the best predictions there are."""
    return [answer["species"] for answer in answers()]


class DataTests(SynchronousTestCase):
    """The data set is whole and keeps its secret."""

    def test_split(self) -> None:
        """233 birds to learn from, 100 to predict, and nothing about these in what participants get."""
        train = list(csv.DictReader(io.StringIO(challenge.data_file("train.csv"))))
        test = list(csv.DictReader(io.StringIO(challenge.data_file("test.csv"))))
        self.assertEqual((len(train), len(test), len(answers())), (233, 100, 100))
        self.assertEqual([bird["id"] for bird in test], [each["id"] for each in answers()])
        self.assertFalse({"species", "body_mass_g"} & set(test[0]))
        self.assertEqual({bird["species"] for bird in train}, set(right_species()))

    def test_figures(self) -> None:
        """The figures are the published ones: 146 Adelie, 68 Chinstrap and 119 Gentoo have all values."""
        train = csv.DictReader(io.StringIO(challenge.data_file("train.csv")))
        everyone = [bird["species"] for bird in train] + right_species()
        counts = {name: everyone.count(name) for name in set(everyone)}
        self.assertEqual(counts, {"Adelie": 146, "Chinstrap": 68, "Gentoo": 119})

    def test_samples(self) -> None:
        """The sample predictions are a simple model's: good, and easy to better."""
        scored = SPECIES.score(SPECIES.from_file(challenge.sample_file()), quiet, None)
        self.assertEqual((scored["score"], scored["comment"]), (0.81, "81 of 100 penguins right"))
        scored = MASS.score(MASS.from_data(challenge.sample_masses()), quiet, None)
        self.assertTrue(0.7 < scored["score"] < 0.8, scored)


class ScoreTests(SynchronousTestCase):
    """The metrics."""

    def test_all_right(self) -> None:
        """Perfect predictions get the best scores."""
        scored = SPECIES.score(right_species(), quiet, None)
        self.assertEqual((scored["score"], scored["secondary_score"]), (1.0, 1.0))
        scored = MASS.score([answer["body_mass_g"] for answer in answers()], quiet, None)
        self.assertEqual((scored["score"], scored["secondary_score"]), (1.0, 0.0))

    def test_one_species_for_all(self) -> None:
        """Accuracy is the share of that species; F1 is averaged over all three, of which two are nothing."""
        share = right_species().count("Adelie") / 100
        scored = SPECIES.score(["Adelie"] * 100, quiet, None)
        self.assertEqual(scored["score"], share)
        self.assertAlmostEqual(scored["secondary_score"], 2 * share / (1 + share) / 3, 6)

    def test_the_mean_for_all(self) -> None:
        """Predicting the mean explains nothing: R2 is zero."""
        masses = [float(answer["body_mass_g"]) for answer in answers()]
        self.assertEqual(MASS.score([sum(masses) / 100] * 100, quiet, None)["score"], 0.0)

    def test_progress(self) -> None:
        """Progress grows to exactly 100."""
        seen: list[float] = []
        SPECIES.score(right_species(), lambda percent, _: seen.append(percent), None)
        self.assertEqual(seen, [10.0 * step for step in range(1, 11)])

    def test_practice(self) -> None:
        """A part is scored alone: what is wrong beyond it does not show."""
        labels: list[object] = [*right_species()[:PRACTICE], *["?"] * (100 - PRACTICE)]
        self.assertEqual(SPECIES.score(labels, quiet, PRACTICE)["score"], 1.0)


class ReadingTests(SynchronousTestCase):
    """Each mistake in predictions is explained to its author."""

    def explained(self, words: str, task: challenge.Task, content: Any) -> None:
        """The predictions are refused, in these words."""
        with self.assertRaises(BadPredictions) as caught:
            read = task.from_file(content) if isinstance(content, bytes) else task.from_data(content)
            task.score(read, quiet, None)
        self.assertIn(words, str(caught.exception))

    def test_order_does_not_matter_in_a_file(self) -> None:
        """A file is read by its ids, with or without a byte order mark, in any order of lines and columns."""
        lines = [f"{answer['species']},{answer['id']}" for answer in answers()]
        text = "\r\n".join(["\ufeffspecies,id", *reversed(lines)])
        for read in (SPECIES.from_file(text.encode()), SPECIES.from_data(text)):
            self.assertEqual(list(read), right_species())

    def test_bad_files(self) -> None:
        """What is wrong is named, with its line."""
        sample = challenge.sample_file()
        self.explained("99 predictions were given", SPECIES, sample.rpartition(b"100,")[0])
        self.explained(
            "Line 3: the penguin with the id 1 is predicted twice", SPECIES, b"id,species\n1,Adelie\n1,x\n"
        )
        self.explained("no penguin with the id '777'", SPECIES, sample.replace(b"\n7,", b"\n777,"))
        self.explained("must name the columns id and species", SPECIES, b"1,Adelie\n2,Gentoo\n")
        self.explained("must name the columns", SPECIES, b"")
        self.explained("must name the columns id and body_mass_g", MASS, sample)
        self.explained("no text in UTF-8", SPECIES, b"\x1f\x8b\x08\x00\xff")
        self.explained(
            "is 'Emperor'; it must be one of Adelie", SPECIES, sample.replace(b"Gentoo", b"Emperor")
        )
        self.explained("is no CSV", SPECIES, b'id,species\n1,"Ade"lie\n')

    def test_bad_lists(self) -> None:
        """The same for predictions that come as data."""
        self.explained("must be a list", SPECIES, None)
        self.explained("must be a list", SPECIES, {"predictions": 7})
        self.explained("3 predictions were given", MASS, [1, 2, 3])
        self.explained("id 1 is given as 'nan'", MASS, ["nan"] * 100)
        self.explained("id 1 is given as '[]'", MASS, [[]] * 100)
        self.explained("must be a number of grams", MASS, [10**400] * 100)
        self.explained("it must be one of", SPECIES, [None] * 100)
        self.assertEqual(list(SPECIES.from_data({"predictions": right_species()})), right_species())

    @given(
        st.binary(max_size=200)
        | st.lists(st.none() | st.integers() | st.text() | st.floats(), min_size=100, max_size=100)
    )
    @settings(max_examples=100, deadline=None)
    def test_anything_is_scored_or_explained(self, content: bytes | Sequence[object]) -> None:
        """No predictions break the grader."""
        for task in (SPECIES, MASS):
            try:
                read = task.from_file(content) if isinstance(content, bytes) else task.from_data(content)
                self.assertIn("score", task.score(read, quiet, None))
            except BadPredictions as error:
                self.assertTrue(str(error))
