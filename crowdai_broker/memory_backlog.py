"""The waiting jobs of a :class:`~crowdai_broker.memory_redis.MemoryRedis`: lanes, and whose turn it is."""

from __future__ import annotations

from collections import defaultdict, deque
from itertools import zip_longest

from .core.model import Job, Lane, Place


class MemoryBacklog:
    """For each challenge two rings (live, re-grades) of participants, each with a lane of job ids."""

    def __init__(self) -> None:
        self._rings: defaultdict[tuple[str, Lane], dict[int, deque[str]]] = defaultdict(dict)

    def put(self, job: Job, place: Place) -> None:
        """Let ``job`` wait; at the front, a participant who has no lane yet is next, too."""
        ring = self._rings[job.challenge, job.lane]
        lane = ring.get(job.participant_id)
        if lane is None:
            lane = ring[job.participant_id] = deque()
            if place is Place.FRONT:
                ring.update({p: ring.pop(p) for p in list(ring) if p != job.participant_id})
        if place is Place.FRONT:
            lane.appendleft(job.job_id)
        else:
            lane.append(job.job_id)

    def remove(self, job: Job) -> None:
        """Let ``job`` wait no longer."""
        ring = self._rings[job.challenge, job.lane]
        ring[job.participant_id].remove(job.job_id)
        if not ring[job.participant_id]:
            del ring[job.participant_id]

    def next(self, challenge: str) -> str | None:
        """Remove and return the job whose turn it is."""
        for lane in (Lane.LIVE, Lane.REGRADE):
            ring = self._rings[challenge, lane]
            if ring:
                participant, jobs = next(iter(ring.items()))
                job_id = jobs.popleft()
                del ring[participant]
                if jobs:
                    ring[participant] = jobs
                return job_id
        return None

    def line(self, challenge: str, limit: int) -> list[str]:
        """Return up to ``limit`` waiting jobs in the order in which :meth:`next` would return them."""
        found: list[str] = []
        for lane in (Lane.LIVE, Lane.REGRADE):
            turns = zip_longest(*self._rings[challenge, lane].values())
            found += [job_id for turn in turns for job_id in turn if job_id is not None]
        return found[:limit]

    def counts(self) -> dict[str, int]:
        """Return the number of waiting jobs of each challenge that has any."""
        found: defaultdict[str, int] = defaultdict(int)
        for (challenge, _), ring in self._rings.items():
            found[challenge] += sum(map(len, ring.values()))
        return {challenge: count for challenge, count in found.items() if count}
