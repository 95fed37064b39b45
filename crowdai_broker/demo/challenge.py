"""The sample challenges: what is predicted, how predictions are read, and how they are scored.

Two tasks on one public-domain data set (``data/README``): the species of 100 penguins, and their body mass.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

CHUNK = 10  # rows scored between two reports of progress
PRACTICE = 30  # rows that ``evaluate`` looks at: a check of the format, no way to the whole answer

Progress = Callable[[float, str], None]
"""Called with how many percent are done, 0 to 100, and a text for people."""


class BadPredictions(Exception):
    """The predictions cannot be scored; the text tells their author why."""


def data_file(name: str) -> str:
    """Return the text of a file of the data set."""
    return (files(__package__) / "data" / name).read_text(encoding="utf-8")


@cache
def answers() -> tuple[dict[str, str], ...]:
    """Return the held-back answers, in the order of the ``id``: ``id``, ``species``, ``body_mass_g``."""
    return tuple(csv.DictReader(io.StringIO(data_file("answers.csv"))))


def sample_file() -> bytes:
    """Return the sample predictions of the species as they would be uploaded."""
    return data_file("sample_predictions.csv").encode()


def sample_masses() -> list[float]:
    """Return sample predictions of the body mass: a line through the training birds' flipper lengths."""
    train = list(csv.DictReader(io.StringIO(data_file("train.csv"))))
    lengths = [float(bird["flipper_length_mm"]) for bird in train]
    masses = [float(bird["body_mass_g"]) for bird in train]
    length, mass = sum(lengths) / len(lengths), sum(masses) / len(masses)
    pairs = list(zip(lengths, masses, strict=True))
    slope = sum((x - length) * (y - mass) for x, y in pairs) / sum((x - length) ** 2 for x, _ in pairs)
    test = csv.DictReader(io.StringIO(data_file("test.csv")))
    return [round(mass + slope * (float(bird["flipper_length_mm"]) - length), 1) for bird in test]


# --- reading --------------------------------------------------------------------------------------------


def _check_count(given: Sequence[object]) -> None:
    wanted = len(answers())
    if len(given) != wanted:
        raise BadPredictions(
            f"{len(given)} predictions were given, but there are {wanted} penguins in test.csv:"
            " one prediction for each is needed."
        )


def _from_csv(text: str, column: str) -> list[str]:
    """Return a column of a CSV file, ordered by its ``id``."""
    reader = csv.DictReader(io.StringIO(text.lstrip("\ufeff")), strict=True)
    try:
        rows = list(reader)
    except csv.Error as error:
        raise BadPredictions(f"Line {reader.line_num} is no CSV: {error}.") from None
    if reader.fieldnames is None or not {"id", column} <= set(reader.fieldnames):
        raise BadPredictions(f"The first line must name the columns id and {column}: id,{column}")
    wanted = [answer["id"] for answer in answers()]
    found: dict[str, str] = {}
    for line, row in enumerate(rows, 2):
        bird = (row["id"] or "").strip()
        if bird not in wanted:
            raise BadPredictions(f"Line {line}: there is no penguin with the id {bird[:20]!r} in test.csv.")
        if bird in found:
            raise BadPredictions(f"Line {line}: the penguin with the id {bird} is predicted twice.")
        found[bird] = (row[column] or "").strip()
    _check_count(rows)
    return [found[bird] for bird in wanted]


def _from_list(given: object) -> list[object]:
    """Return predictions that came as data: a list, or an object with one in ``predictions``."""
    if isinstance(given, dict):
        given = given.get("predictions")
    if not isinstance(given, list):
        raise BadPredictions("Predictions must be a list with one entry for each penguin of test.csv.")
    _check_count(given)
    return given


# --- scoring --------------------------------------------------------------------------------------------


def _chunks(count: int, done: Progress) -> Iterator[range]:
    """Go through the rows; report progress after each chunk of them."""
    for start in range(0, count, CHUNK):
        end = min(start + CHUNK, count)
        yield range(start, end)
        done(100.0 * end / count, f"{end} of {count} penguins scored")


def _f1(pairs: Sequence[tuple[str, str]], label: str) -> float:
    right = sum(given == known == label for given, known in pairs)
    mentioned = sum(given == label for given, _ in pairs) + sum(known == label for _, known in pairs)
    return 2 * right / mentioned if mentioned else 0.0


def score_species(labels: Sequence[object], done: Progress, rows: int | None = None) -> dict[str, Any]:
    """Score species by accuracy and, second, by F1 averaged over the species.

    :raises BadPredictions: a label is no species.
    """
    known = [answer["species"] for answer in answers()][:rows]
    species = sorted({answer["species"] for answer in answers()})
    pairs: list[tuple[str, str]] = []
    for chunk in _chunks(len(known), done):
        for row in chunk:
            label = labels[row]
            if not isinstance(label, str) or label not in species:
                raise BadPredictions(
                    f"The prediction for the penguin with the id {row + 1} is {str(label)[:40]!r};"
                    f" it must be one of {', '.join(species)}."
                )
            pairs.append((label, known[row]))
    right = sum(given == expected for given, expected in pairs)
    macro = sum(_f1(pairs, label) for label in species) / len(species)
    return {
        "score": round(right / len(pairs), 6),
        "secondary_score": round(macro, 6),
        "comment": f"{right} of {len(pairs)} penguins right",
    }


def score_masses(masses: Sequence[object], done: Progress, rows: int | None = None) -> dict[str, Any]:
    """Score body masses by R2 and, second, by the root mean squared error in grams.

    :raises BadPredictions: a mass is no finite number.
    """
    known = [float(answer["body_mass_g"]) for answer in answers()][:rows]
    mean = sum(known) / len(known)
    squares = 0.0
    for chunk in _chunks(len(known), done):
        for row in chunk:
            squares += (_mass(masses[row], row + 1) - known[row]) ** 2
    spread = sum((each - mean) ** 2 for each in known)
    error = math.sqrt(squares / len(known))
    return {
        "score": round(1 - squares / spread, 6),
        "secondary_score": round(error, 3),
        "comment": f"off by about {error:.0f} g",
    }


def _mass(given: object, bird: int) -> float:
    try:
        mass = float(given) if isinstance(given, (int, float, str)) else math.nan
    except (ValueError, OverflowError):
        mass = math.nan
    if not (math.isfinite(mass) and abs(mass) < 1e6):
        raise BadPredictions(
            f"The body mass of the penguin with the id {bird} is given as {str(given)[:40]!r};"
            " it must be a number of grams."
        )
    return mass


# --- the two tasks --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Task:
    """What a grader grades.

    :ivar column: the column of an uploaded file that holds the predictions.
    """

    column: str
    score: Callable[[Sequence[object], Progress, int | None], dict[str, Any]]

    def from_file(self, content: bytes) -> Sequence[object]:
        """Read an uploaded file.

        :raises BadPredictions: it is no such file.
        """
        try:
            text = content.decode("utf-8")
        except UnicodeDecodeError:
            raise BadPredictions("The file is no text in UTF-8; a CSV file is needed.") from None
        return _from_csv(text, self.column)

    def from_data(self, data: object) -> Sequence[object]:
        """Read predictions that came with the request: a list, or the text of a file.

        :raises BadPredictions: they are neither.
        """
        return _from_csv(data, self.column) if isinstance(data, str) else _from_list(data)


SPECIES = Task("species", score_species)
MASS = Task("body_mass_g", score_masses)
