"""A participant who never gives up: sends, is cut off, comes back elsewhere, and checks every event."""

from __future__ import annotations

import contextlib
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from .link import Cut, Link
from .work import Submission, make

ENDS = ("COMPLETE", "ERROR", "TIMEOUT")
JOB = "CrowdAI.Event.Job."
AT_ONCE = 4  # requests that are open at a time
UNANSWERED = 45.0  # s after which a request without an answer is a fault of the broker
Answered = Callable[[Any], None]


class Participant(threading.Thread):
    """A thread of its own.

    :param ports: of the brokers.
    :param think: s between two requests, on average.
    :param cuts: chance that the link is cut after something came.
    :ivar made: all requests so far.
    :ivar wrong: what must not be, in words.
    :ivar counts: what happened, by name.
    """

    def __init__(
        self, name: str, key: str, ports: Sequence[int], seed: int, think: float, cuts: float
    ) -> None:
        super().__init__(name=name, daemon=True)
        self.key = key
        self.made: list[Submission] = []
        self.wrong: list[str] = []
        self.counts: Counter[str] = Counter()
        self.cuts = cuts
        self._ports = ports
        self._chance = random.Random(f"{seed} {name}")
        self._think = think
        self._link: Link | None = None
        self._asked: dict[int, tuple[float, str, Answered]] = {}
        self._tokens: dict[str, str] = {}  # by challenge; "": asked for
        self._again: list[tuple[float, Submission]] = []  # requests that were refused for now
        self._next_request = 0.0
        self._submitting = True
        self._leaving = threading.Event()

    # --- what others say to it -----------------------------------------------------------------------------

    def enough(self) -> None:
        """Make no more requests."""
        self._submitting = False

    def leave(self) -> None:
        """End."""
        self._leaving.set()

    @property
    def open(self) -> list[Submission]:
        """Requests whose end is not known yet."""
        return [each for each in tuple(self.made) if not each.finished]

    # --- living --------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Live until told to leave."""
        try:
            while not self._leaving.is_set():
                try:
                    self._be_connected()
                except Cut:
                    self.counts["links lost"] += self._link is not None
                    self._leaving.wait(self._chance.uniform(0.05, 0.5))
        except Exception as error:
            self.wrong.append(f"{self.name} failed: {error!r}")
            raise

    def _be_connected(self) -> None:
        """Use one link until it is lost, or let go of."""
        self._asked.clear()
        self._again.clear()
        self._tokens.clear()
        self._link = None
        self._link = Link(self._chance.choice(self._ports))
        try:
            for challenge in {each.challenge for each in self.open}:
                self._authenticate(challenge)
            while not self._leaving.is_set():
                self._do_what_is_due()
                came = self._link.next(0.1)
                if came is not None:
                    self._take(*came)
                    if self._chance.random() < self.cuts:
                        self.counts["links cut"] += 1
                        return
        finally:
            self._link.cut()

    def _do_what_is_due(self) -> None:
        now = time.monotonic()
        for when, submission in tuple(self._again):
            if when <= now:
                self._begin(submission)
        if self._submitting and now >= self._next_request and len(self.open) < AT_ONCE:
            self._next_request = now + self._chance.expovariate(1 / self._think)
            submission = make(self._chance)
            self.made.append(submission)
            self._begin(submission)
        for number, (since, what, _) in tuple(self._asked.items()):
            if now - since > UNANSWERED:
                del self._asked[number]
                self.wrong.append(f"{self.name}: {what} was not answered within {UNANSWERED:g} s")

    def _take(self, what: int | str, argument: Any) -> None:
        if isinstance(what, int):
            asked = self._asked.pop(what, None)
            if asked is not None:
                asked[2](argument)
            return
        for submission in self.made:
            if submission.channel == what:
                self._hear(submission, argument)

    def _ask(self, event: str, argument: Any, answered: Answered, *, waits: bool = False) -> None:
        """Send a request; one that ``waits`` for graders may take any time to be answered."""
        assert self._link is not None
        since = float("inf") if waits else time.monotonic()
        self._asked[self._link.emit(event, argument)] = (since, event, answered)

    # --- requests ------------------------------------------------------------------------------------------

    def _authenticate(self, challenge: str) -> None:
        def answered(answer: dict[str, Any]) -> None:
            del self._tokens[challenge]
            if "session_token" in answer:
                self._tokens[challenge] = answer["session_token"]
            for submission in self.open:
                if submission.challenge == challenge:
                    (self._begin if "session_token" in answer else self._later)(submission)

        if challenge not in self._tokens:
            self._tokens[challenge] = ""
            request = {"API_KEY": self.key, "challenge_id": challenge, "client_version": "1.0.22"}
            self._ask("authenticate", request, answered)

    def _begin(self, submission: Submission) -> None:
        """Send a request, or follow again what is known to be accepted."""
        token = self._tokens.get(submission.challenge)
        self._again = [waiting for waiting in self._again if waiting[1] is not submission]
        if token is None:
            self._authenticate(submission.challenge)  # then all of its challenge begin
        elif token and submission.execution_id:
            self._resume(submission, token)
        elif token:
            self._execute(submission, token)

    def _later(self, submission: Submission) -> None:
        """Try again: what was asked for could not be done now."""
        if all(submission is not waiting for _, waiting in self._again):
            self._again.append((time.monotonic() + self._chance.uniform(0.2, 1.0), submission))

    def _execute(self, submission: Submission, token: str) -> None:
        def answered(outcomes: list[dict[str, Any]]) -> None:
            if outcomes[0].get("data_sequence_no") == -1:
                self.counts["refused for now"] += 1
                self._later(submission)
            else:
                self._check_outcomes(submission, outcomes)

        submission.next = 1
        data = [item.data for item in submission.items]
        request = {
            "response_channel": submission.channel,
            "session_token": token,
            "api_key": self.key,
            "challenge_client_name": submission.challenge,
            "function_name": submission.function,
            "data": data,
            "dry_run": False,
            "parallel": len(data) > 1,
            "idempotency_key": submission.key,
        }
        self.counts["sent"] += 1
        self._ask("execute_function", request, answered, waits=True)

    def _resume(self, submission: Submission, token: str) -> None:
        def answered(receipt: dict[str, Any]) -> None:
            if receipt["response_type"] != "CrowdAI.Event.SUCCESS":
                self.counts["refused for now"] += 1
                if "no such execution" in receipt["message"]:
                    self.wrong.append(f"{self.name}: {submission.execution_id} was accepted and is lost")
                self._later(submission)
            elif receipt["state"] == "finished" and submission.next > receipt["event_no"]:
                self._finish(submission)

        submission.next = len(submission.events) + 1
        self.counts["resumed"] += 1
        asked = {
            "session_token": token,
            "execution_id": submission.execution_id,
            "after_event_no": submission.next - 1,
        }
        self._ask("resume", asked, answered)

    # --- what comes ----------------------------------------------------------------------------------------

    def _hear(self, submission: Submission, text: str) -> None:
        event = json.loads(text)
        if event["data_sequence_no"] == -1 and event["job_id"] == "" and "event_no" not in event:
            return  # a refusal; its acknowledgement follows
        number = event["event_no"]
        if number != submission.next:
            self.wrong.append(f"{submission.channel}: event {number} came where {submission.next} is due")
        if submission.events.setdefault(number, text) != text:
            self.wrong.append(f"{submission.channel}: event {number} came with two texts")
        submission.next = number + 1
        submission.execution_id = submission.execution_id or event["execution_id"]
        if submission.execution_id != event["execution_id"]:
            self.wrong.append(f"{submission.channel}: two executions for one key")
        if event["response_type"].removeprefix(JOB) in ENDS:
            self._end_job(submission, event)

    def _end_job(self, submission: Submission, event: dict[str, Any]) -> None:
        submission.ended.add(event["data_sequence_no"])
        if len(submission.ended) == len(submission.items):
            self._finish(submission)

    def _check_outcomes(self, submission: Submission, outcomes: list[dict[str, Any]]) -> None:
        """An acknowledgement tells the end of each job, and comes after the events of those ends."""
        if len(outcomes) != len(submission.items):
            self.wrong.append(f"{submission.channel}: {len(outcomes)} outcomes")
        if len(submission.ended) != len(submission.items):
            self.wrong.append(f"{submission.channel}: acknowledged before its events")
        self._finish(submission)

    def _finish(self, submission: Submission) -> None:
        if not submission.finished:
            submission.finished = True
            self.counts["finished"] += 1


def read_again(port: int, participant: Participant, patience: float) -> list[str]:
    """Resume everything from the first event over a new link; return what is not as it was heard before."""
    link = Link(port)
    wrong: list[str] = []
    try:
        for challenge in {each.challenge for each in participant.made}:
            request = {"API_KEY": participant.key, "challenge_id": challenge, "client_version": "1.0.22"}
            answer, _ = _call(link, "authenticate", request, patience)
            for submission in participant.made:
                if submission.challenge == challenge:
                    wrong += _compare(link, answer["session_token"], submission, patience)
    finally:
        with contextlib.suppress(OSError):
            link.cut()
    return wrong


def _compare(link: Link, token: str, submission: Submission, patience: float) -> list[str]:
    asked = {"session_token": token, "execution_id": submission.execution_id, "after_event_no": 0}
    receipt, heard = _call(link, "resume", asked, patience)
    texts = [text for channel, text in heard if channel == submission.channel]
    numbers = [json.loads(text)["event_no"] for text in texts]
    wrong = []
    if receipt.get("state") != "finished":
        wrong.append(f"{submission.channel}: {receipt}")
    if numbers != list(range(1, receipt.get("event_no", 0) + 1)):
        wrong.append(f"{submission.channel}: events {numbers} of {receipt.get('event_no')}")
    if any(submission.events.get(number, text) != text for number, text in zip(numbers, texts, strict=True)):
        wrong.append(f"{submission.channel}: an event is not what was heard before")
    return wrong


def _call(link: Link, event: str, argument: Any, patience: float) -> tuple[Any, list[tuple[str, Any]]]:
    """Send a request; return its answer and what came before it."""
    number = link.emit(event, argument)
    deadline = time.monotonic() + patience
    heard: list[tuple[str, Any]] = []
    while time.monotonic() < deadline:
        came = link.next(1.0)
        if came is not None and came[0] == number:
            return came[1], heard
        if came is not None and isinstance(came[0], str):
            heard.append((came[0], came[1]))
    raise Cut(f"{event} was not answered within {patience:g} s")
