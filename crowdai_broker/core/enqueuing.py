"""``/enqueue_grading_job``: submissions that exist already are to be graded, for the first time or again.

The webapp asks for this where participants upload files on its own pages, and where an organizer has
submissions graded again. Nothing is registered: the submission's number comes with the request.
"""

from __future__ import annotations

import secrets
from collections.abc import Container
from typing import Any, Final

from msgspec import Struct
from twisted.internet.interfaces import IReactorTime

from ..config import ChallengeConfig
from ..errors import NotNow, PeerError, TooMuch
from ..interfaces import IStore
from .catalogue import Catalogue
from .dispatch import Dispatcher
from .intake import ID_BYTES, RESTARTING, Intake, check_function, new_execution_id, open_order
from .model import Execution, Job, JobState, Lane, NewJob, job_id_of
from .requests import read_flag, read_optional_text, read_text

MAX_ITEMS: Final = 1000  # submissions of one request
MAX_NUMBER: Final = (1 << 53) - 1  # exact in every language
_NUMBERS: Final = ("submission_id", "participant_id", "challenge_round_id")
NO_CHANNEL: Final = "na"  # what the webapp says where participants have a channel


class Item(Struct, frozen=True):
    """A submission to be graded.

    :ivar data: what the grader gets.
    :ivar participant_id: 0: not known.
    """

    data: dict[str, Any]
    submission_id: int
    participant_id: int


class Request(Struct, frozen=True):
    """What the webapp asks."""

    api_key: str
    challenge: str
    grader_id: str
    function_name: str
    response_channel: str
    items: tuple[Item, ...]
    dry_run: bool

    def __repr__(self) -> str:
        return f"<Request {self.challenge} {self.function_name}>"


class Enqueuing:
    """Accepts submissions that exist already.

    :param served_kinds: kinds of graders that this broker can give jobs to.
    """

    def __init__(
        self,
        clock: IReactorTime,
        store: IStore,
        catalogue: Catalogue,
        intake: Intake,
        dispatcher: Dispatcher,
        served_kinds: Container[str],
    ) -> None:
        self._clock = clock
        self._store = store
        self._catalogue = catalogue
        self._intake = intake
        self._dispatcher = dispatcher
        self._served_kinds = served_kinds
        self._closing = False

    def close(self) -> None:
        """Accept nothing more: this node is about to stop."""
        self._closing = True

    async def enqueue(self, asked: dict[str, Any]) -> Execution:
        """Store what was asked as an execution, a job for each submission; return it once it is stored.

        :raises NotNow: it cannot be told whether it is right, or whether it was stored.
        :raises TooMuch: it is more than :data:`MAX_ITEMS`.
        :raises PeerError: it is wrong; with what.
        :raises StoreUnavailable: nothing was stored.
        """
        if self._closing:
            raise NotNow(RESTARTING)
        request = read(asked)
        challenge = await self._catalogue.get(request.challenge)
        check_function(request.challenge, request.function_name, challenge, self._served_kinds)
        execution = self._execution(request)
        lanes = await self._lanes(request)
        jobs = [
            NewJob(_job(execution, challenge, request.grader_id, number, item, lane))
            for number, (item, lane) in enumerate(zip(request.items, lanes, strict=True))
        ]
        await self._intake.keep(execution, jobs)
        self._dispatcher.poke(request.challenge)
        return execution

    def _execution(self, request: Request) -> Execution:
        return Execution(
            execution_id=new_execution_id(),
            participant_id=request.items[0].participant_id,
            challenge=request.challenge,
            function_name=request.function_name,
            response_channel=request.response_channel,
            job_count=len(request.items),
            accepted_at=int(self._clock.seconds() * 1000),
            progress_key=secrets.token_urlsafe(ID_BYTES),
            api_key=request.api_key,
            scored=not request.dry_run,
            dry_run=request.dry_run,
        )

    async def _lanes(self, request: Request) -> list[Lane]:
        """Return the lane of each submission: one that was met before is graded again, behind live work."""
        met: set[int] = set()
        lanes = []
        for item in request.items:
            again = item.submission_id in met or await self._store.submission_known(item.submission_id)
            lanes.append(Lane.REGRADE if again else Lane.LIVE)
            met.add(item.submission_id)
        return lanes


def _job(
    execution: Execution, challenge: ChallengeConfig, grader_id: str, number: int, item: Item, lane: Lane
) -> Job:
    submission_id = item.submission_id if execution.scored else 0  # nothing of a dry run reaches the webapp
    return Job(
        job_id=job_id_of(execution.execution_id, number),
        execution_id=execution.execution_id,
        data_sequence_no=number,
        participant_id=item.participant_id,
        challenge=execution.challenge,
        state=JobState.QUEUED,
        order=open_order(execution, challenge, item.data, submission_id=submission_id),
        lane=lane,
        scored=execution.scored,
        grades_posted_by=challenge.grades_posted_by,
        grader_id=grader_id,
        submission_id=submission_id,
        created=execution.accepted_at,
    )


def read(asked: dict[str, Any]) -> Request:
    """Read a request: values of JSON, or the texts of a form.

    :raises PeerError: something is missing or wrong; with its name.
    """
    return Request(
        api_key=read_optional_text(asked, "api_key"),
        challenge=read_text(asked, "challenge_client_name"),
        grader_id=read_optional_text(asked, "grader_id"),
        function_name=read_text(asked, "function_name"),
        response_channel=read_optional_text(asked, "response_channel") or NO_CHANNEL,
        items=_items(asked.get("data")),
        dry_run=read_flag(asked, "dry_run"),
    )


def _items(data: Any) -> tuple[Item, ...]:
    rows = [data] if isinstance(data, dict) else data
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise PeerError("The parameter data must be a list of submissions, each an object.")
    if len(rows) > MAX_ITEMS:
        raise TooMuch(f"One request may bring {MAX_ITEMS} submissions, this one has {len(rows)}.")
    return tuple(_item(row) for row in rows)


def _item(row: dict[str, Any]) -> Item:
    submission_id = _number(row, "submission_id")
    if not submission_id:
        raise PeerError("Missing parameter: submission_id of each item of data.")
    numbers: dict[str, Any] = {name: _number(row, name) for name in _NUMBERS if row.get(name)}
    return Item({**row, **numbers}, submission_id, numbers.get("participant_id", 0))


def _number(row: dict[str, Any], name: str) -> int:
    """Return a number, also one in a string; nothing is 0."""
    value = row.get(name)
    if value is None or value == "":
        return 0
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 16:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_NUMBER:
        raise PeerError(f"The parameter {name} must be a whole number.")
    return value
