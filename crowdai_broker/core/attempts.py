"""The attempts this node relays events of, and how fast their progress may go."""

from __future__ import annotations

from msgspec.structs import replace

from .model import Job, JobState


class Attempt:
    """A job in a grader's hands.

    :ivar next_progress: time (s) from which its next progress event may be relayed at once.
    :ivar holding: a progress event of it is held back.
    :ivar heard: when (s) its grader's newest event came; 0: none came yet.
    :ivar told: its participant was told that nobody is there to grade it.
    """

    __slots__ = ("heard", "holding", "job", "next_progress", "told")

    def __init__(self, job: Job) -> None:
        self.job = job
        self.next_progress = 0.0
        self.holding = False
        self.heard = 0.0
        self.told = False


class Attempts:
    """Attempts by number: those this node dispatched, and those of adopted lists once they were heard of.

    No larger than what the graders hold, since an attempt that is over is forgotten.
    """

    def __init__(self) -> None:
        self._by_number: dict[str, Attempt] = {}
        self._holding: dict[str, Attempt] = {}
        self._heard: dict[str, float] = {}  # when the graders of a challenge were heard of last

    def __len__(self) -> int:
        return len(self._by_number)

    def add(self, job: Job) -> Attempt:
        """Keep the job's attempt; progress that another node held back is known of from now on."""
        attempt = self._by_number.setdefault(job.attempt, Attempt(job))
        if job.held:
            self.hold(attempt)
        return attempt

    def get(self, number: str) -> Attempt | None:
        """Return the attempt with this number if it is kept."""
        return self._by_number.get(number)

    def heard(self, attempt: Attempt, now: float) -> None:
        """Note that the attempt's grader said something."""
        attempt.heard = now
        self._heard[attempt.job.challenge] = now

    def heard_since(self, challenge: str, when: float) -> bool:
        """Tell whether a grader of the challenge said something at ``when`` (s) or later."""
        return self._heard.get(challenge, 0.0) >= when

    def restart(self, number: str, now: int, due: int, state: JobState) -> None:
        """Note that the time of an attempt begins anew now (ms) and ends at ``due``."""
        attempt = self._by_number.get(number)
        if attempt is not None:
            attempt.job = replace(attempt.job, dispatched_at=now, due=due, state=state)

    def forget(self, number: str) -> None:
        """Drop an attempt that is over."""
        self._by_number.pop(number, None)
        self._holding.pop(number, None)

    def by_challenge(self) -> dict[str, list[Attempt]]:
        """Return the kept attempts of each challenge."""
        groups: dict[str, list[Attempt]] = {}
        for attempt in self._by_number.values():
            groups.setdefault(attempt.job.challenge, []).append(attempt)
        return groups

    def prune(self, before: int) -> None:
        """Drop attempts whose deadline was before that time (ms): another node may have ended them."""
        for number in [key for key, kept in self._by_number.items() if kept.job.due < before]:
            self.forget(number)
        groups = self.by_challenge()
        self._heard = {name: when for name, when in self._heard.items() if name in groups}

    def hold(self, attempt: Attempt) -> None:
        """Note that a progress event of the attempt is held back."""
        attempt.holding = True
        self._holding[attempt.job.attempt] = attempt

    def release_due(self, now: float) -> list[Attempt]:
        """Return the attempts whose held progress may go now.

        Until that is known to be done (:meth:`released`), newer progress is held back too, lest the older
        one be logged after it.
        """
        due = [attempt for attempt in self._holding.values() if attempt.next_progress <= now]
        for attempt in due:
            del self._holding[attempt.job.attempt]
        return due

    def released(self, attempt: Attempt) -> None:
        """Note that held progress was logged."""
        attempt.holding = attempt.job.attempt in self._holding
