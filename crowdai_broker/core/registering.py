"""The *register* effect: one submission at the webapp for a scored job, before a grader sees it.

Every POST that succeeds creates a submission and uses up a slot, so a POST whose answer never came is not
repeated until the list of the challenge's submissions shows that none carries the job's marks.
"""

from __future__ import annotations

import msgspec

from ..errors import BrokerError, WebappDenied, WebappError, WebappRefused, WebappUnavailable
from ..interfaces import IWebapp
from .catalogue import Catalogue
from .lifecycle import REGISTERING, marks_of, noted, refused, registered, registered_too_late
from .model import TERMINAL, Effect, EffectState, Job
from .outbox import Again, Settled, Verdict, until_it_shows
from .webapp_model import Registered, RegisterFields, Submission

_decode = msgspec.json.Decoder(RegisterFields).decode

WAITS = (
    "The challenge site cannot be reached right now. Your submission is stored here and will be registered "
    "and graded as soon as the site answers; you need not submit again."
)
DOUBTFUL = (
    "The challenge site did not say whether it registered your submission. It is stored here; it will be "
    "graded once that is known, so that it costs you no second slot."
)
HELD = (
    "The challenge site did not say whether it registered your submission, and nobody but its operators can "
    "find out. It is stored here and waits for them; you need not submit again."
)


class Registering:
    """Handles *register* effects.

    :param doubt: seconds to let pass before a doubtful registration is looked for, so that a request that
        the webapp still works on has shown its work.
    """

    def __init__(self, webapp: IWebapp, catalogue: Catalogue, doubt: float) -> None:
        self._webapp = webapp
        self._catalogue = catalogue
        self._doubt = doubt

    async def __call__(self, effect: Effect, job: Job) -> Verdict:
        """Register the job, or find out whether that was done."""
        if effect.state is EffectState.SENT:
            return await self._settle_doubt(effect, job)
        if job.state in TERMINAL:
            return Settled(registered_too_late(job, 0))
        return await self._register(effect, job)

    async def _register(self, effect: Effect, job: Job) -> Verdict:
        try:
            answer = await self._webapp.register(_decode(effect.body))
        except WebappRefused as error:
            return Settled(refused(job, refusal_text(error)), registered_too_late(job, 0))
        except WebappDenied as error:
            return Again(EffectState.NEW, str(error), noted(job, REGISTERING, WAITS))
        except WebappUnavailable as error:
            if error.definitely_not_done:
                return Again(
                    EffectState.NEW, str(error), noted(job, REGISTERING, WAITS), after=error.retry_after
                )
            wait = until_it_shows(self._doubt, error)
            return Again(EffectState.SENT, str(error), noted(job, REGISTERING, DOUBTFUL), after=wait)
        return _done(job, answer)

    async def _settle_doubt(self, effect: Effect, job: Job) -> Verdict:
        """Look for the job's marks in the list; register only if no submission carries them."""
        try:
            challenge = await self._catalogue.get(job.challenge)
        except BrokerError as error:
            return Again(EffectState.SENT, str(error))
        if challenge.number is None or not challenge.organizer_api_key:
            note = (
                "in doubt; without number and organizer_api_key of its challenge only a person can settle it"
            )
            return Again(EffectState.HELD, note, noted(job, REGISTERING, HELD))
        try:
            listed = await self._webapp.submissions(challenge.number, challenge.organizer_api_key.reveal())
        except WebappError as error:
            return Again(EffectState.SENT, f"in doubt, and the list cannot be read: {error}")
        found = find(listed, job)
        if found is not None:
            return _done(job, Registered(submission_id=found.id))
        if job.state in TERMINAL:
            return Settled(registered_too_late(job, 0))
        return await self._register(effect, job)


def find(listed: list[Submission], job: Job) -> Submission | None:
    """Return the submission that carries the job's marks."""
    marks = marks_of(job)
    for submission in listed:
        meta = submission.meta or {}
        if all(meta.get(name) == mark for name, mark in marks.items()):
            return submission
    return None


def refusal_text(error: WebappRefused) -> str:
    """Return the webapp's own words, and when the next slot opens where it said so."""
    if error.reset_dttm is None:
        return error.message
    return f"{error.message} The next slot opens at {error.reset_dttm:%Y-%m-%d %H:%M:%S} UTC."


def _done(job: Job, answer: Registered) -> Settled:
    if job.state in TERMINAL:
        return Settled(registered_too_late(job, answer.submission_id))
    return Settled(registered(job, answer), registered_too_late(job, answer.submission_id))
