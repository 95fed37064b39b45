"""The count: what was asked for, what is stored, what the webapp shows, and whether they agree."""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import redis

from .participant import Participant
from .work import CHALLENGES, NARROW, NO_SLOTS, PLAIN, PLATFORM, SLOTS, Item, Submission

PREFIX = "crowdai:"
TERMINAL = ("complete", "failed", "cancelled")
MUST_BE_EMPTY = ("outbox", "held", "attempts", "unfinished", "backlog", "due", "open", "writers", "adopted")
MUST_NOT_BE = ("flight:", "ring:", "lane:", "effect:", "responses:")
NO_END = -1  # what Redis calls the time to live of a key that has none

Row = dict[str, Any]


def left_over(server: redis.Redis) -> list[str]:
    """Return what is stored and should not be once nothing is open."""
    names = [key.removeprefix(PREFIX) for key in server.scan_iter(f"{PREFIX}*", 1000)]
    left = [name for name in names if name in MUST_BE_EMPTY or name.startswith(MUST_NOT_BE)]
    left += [name for name in names if name.startswith("node:")]
    left += [f"{name}::enqueue_job" for name in CHALLENGES if server.exists(f"{name}::enqueue_job")]
    return sorted(left)


class Count:
    """Counts once, at the end.

    :ivar numbers: by what they are of.
    :ivar wrong: what must not be, in words.
    """

    def __init__(
        self, server: redis.Redis, rows: Sequence[Row], board: Sequence[Row], people: Sequence[Participant]
    ) -> None:
        self.numbers: Counter[str] = Counter()
        self.wrong: list[str] = [text for person in people for text in person.wrong]
        self._server = server
        self._rows: dict[tuple[str, str], list[Row]] = defaultdict(list)
        self._of_person: Counter[tuple[int, int]] = Counter()
        for row in rows:
            self._take_row(row)
        for number, person in enumerate(people, 1):
            self.numbers["requests"] += len(person.made)
            for submission in person.made:
                self._submission(submission)
            self._narrow(number, person)
        self._stored()
        self._board(board, people)

    def _take_row(self, row: Row) -> None:
        meta = row["meta"]
        marks = json.loads(meta) if isinstance(meta, str) else meta or {}
        self._rows[marks.get("broker_execution_id", ""), marks.get("broker_job", "")].append(row)
        self._of_person[row["participant_id"], row["challenge_id"]] += 1
        self.numbers["submissions at the webapp"] += 1
        self.numbers["POSTs"] += row["posts"]
        self.numbers["PATCHes"] += row["patches"]

    # --- one request ---------------------------------------------------------------------------------------

    def _submission(self, submission: Submission) -> None:
        execution = submission.execution_id
        if not execution:
            self.wrong.append(f"{submission.channel}: never accepted")
            return
        self.numbers["executions accepted"] += 1
        if not self._server.exists(f"{PREFIX}x:{execution}"):
            self.wrong.append(f"{submission.channel}: {execution} was accepted and is lost")
            return
        for number, item in enumerate(submission.items):
            job: Any = self._server.hgetall(f"{PREFIX}job:{execution}-{number}")
            self.numbers["jobs accepted"] += 1
            if job.get("state") in TERMINAL:
                self.numbers["jobs terminal"] += 1
            else:
                self.wrong.append(f"{execution}-{number} is {job.get('state')}: stuck")
                continue
            self._outcome(submission, item, job)
            if submission.scored:
                self._scored(submission, item, job)
        self.numbers["events"] += len(submission.events)

    def _outcome(self, submission: Submission, item: Item, job: Row) -> None:
        """How a job ended, for its participant."""
        result = json.loads(job["result"])
        told = f"{job['job_id']} ({job['attempts']} attempts): {result}"
        self.numbers[f"jobs dispatched {job['attempts']} times"] += 1
        if item.score is None:
            if item.error not in result["message"] or job["state"] != "failed":
                self.wrong.append(f"{told}, not {item.error!r}")
            self.numbers["jobs that had to fail"] += 1
        elif job["state"] == "complete":
            if not math.isclose(result["data"]["score"], item.score, abs_tol=1e-9):
                self.wrong.append(f"{told}, not {item.score}")
        elif submission.challenge == NARROW and _is_refusal(job):
            self.numbers["jobs refused by the webapp"] += 1
        else:
            self.wrong.append(f"{told}, not {item.score}")

    def _scored(self, submission: Submission, item: Item, job: Row) -> None:
        """What the webapp has of a job."""
        self.numbers["scored jobs"] += 1
        name = job["job_id"]
        rows = self._rows.pop((submission.execution_id, name), [])
        if submission.challenge == NARROW and _is_refusal(job):
            if rows:
                self.wrong.append(f"{name} was refused, and registered {len(rows)} times")
            return
        if len(rows) != 1:
            self.wrong.append(f"{name} is registered {len(rows)} times")
            return
        self.numbers["registered once"] += 1
        self._grade(name, item, rows[0])

    def _grade(self, name: str, item: Item, row: Row) -> None:
        grades = [grade for grade in row["grades"] if grade["grading_status"] != "submitted"]
        if len(grades) != 1:
            self.wrong.append(f"{name} is graded {len(grades)} times: {grades}")
        elif item.score is not None and _shows(row, item.score):
            self.numbers["graded once, rightly"] += 1
        elif item.score is None and _tells(row, item.error):
            self.numbers["graded once as failed, rightly"] += 1
        else:
            self.wrong.append(f"{name} is graded wrongly: {row}")

    # --- everything ----------------------------------------------------------------------------------------

    def _narrow(self, number: int, person: Participant) -> None:
        asked = sum(submission.challenge == NARROW for submission in person.made)
        used = self._of_person[number, CHALLENGES.index(NARROW) + 1]
        if used != min(asked, SLOTS):
            self.wrong.append(f"{person.name} used {used} slots for {asked} submissions, {SLOTS} are there")

    def _stored(self) -> None:
        """Nothing is stored but what was asked for, and all of it will expire."""
        for marks, rows in self._rows.items():
            self.wrong.append(f"at the webapp, of no job: {marks} {len(rows)} times")
        known = self.numbers["executions accepted"]
        stored = [key for key in self._server.scan_iter(f"{PREFIX}x:*", 1000) if key.count(":") == 2]
        self.numbers["executions stored"] = len(stored)
        if len(stored) != known:
            self.wrong.append(f"{len(stored)} executions are stored, {known} were asked for")
        self.wrong += [f"left over: {name}" for name in left_over(self._server)]
        for kind in ("x", "job", "idem", "session"):
            for key in self._server.scan_iter(f"{PREFIX}{kind}:*", 1000):
                if self._server.ttl(key) == NO_END:
                    self.wrong.append(f"{key} does not expire")

    def _board(self, board: Sequence[Row], people: Sequence[Participant]) -> None:
        """The leaderboard shows the best score of each participant."""
        shown = {line["participant"]: line["score"] for line in board}
        for number, person in enumerate(people, 1):
            scores = list(_scores(person.made))
            best = shown.get(f"Participant {number}")
            if scores and (best is None or not math.isclose(best, max(scores), abs_tol=1e-9)):
                self.wrong.append(f"{person.name} has {best} on the leaderboard, not {max(scores)}")
            self.numbers["lines of the leaderboard that are right"] += bool(scores)


def _scores(made: Iterable[Submission]) -> Iterable[float]:
    for submission in made:
        if submission.challenge == PLAIN and submission.scored:
            yield from (item.score for item in submission.items if item.score is not None)


def _is_refusal(job: Row) -> bool:
    """Tell whether the webapp refused a job; some of its answers come spoilt."""
    return any(text in job["result"] for text in (NO_SLOTS, "refused the submission without saying why"))


def _shows(row: Row, score: float) -> bool:
    return row["grading_status_cd"] == "graded" and math.isclose(row["score"], score, abs_tol=1e-9)


def _tells(row: Row, error: str) -> bool:
    message = str(row["grading_message"])
    told = message.startswith(error) if error == PLATFORM else error in message
    return row["grading_status_cd"] == "failed" and told
