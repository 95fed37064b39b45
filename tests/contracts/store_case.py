"""How a store's contract gets the store that it is about."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from crowdai_broker.core.model import (
    Execution,
    Job,
)
from crowdai_broker.interfaces import IStore


class StoreCase(TestCase):
    """Makes stores that share one server; each twin says how."""

    async def make_store(self, node: str = "n1") -> IStore:
        """Return a store of ``node`` on this test's server; what it needs to end is done at clean-up."""
        raise NotImplementedError

    async def list_of(self, key: str) -> list[bytes]:
        """Return what a list of the server holds."""
        raise NotImplementedError

    async def push(self, key: str, *values: bytes) -> None:
        """Put entries at the end of a list, as a grader does."""
        raise NotImplementedError

    async def until_it_listens(self, begun: Deferred[None]) -> None:
        """Return when a store that was told to listen does; ``begun`` fires with the first gap it tells."""
        raise NotImplementedError

    async def job_of(self, store: IStore, job_id: str) -> Job:
        """Return a job that must be there."""
        job = await store.job(job_id)
        assert job is not None
        return job

    async def execution_of(self, store: IStore, execution_id: str) -> Execution:
        """Return an execution that must be there."""
        execution = await store.execution(execution_id)
        assert execution is not None
        return execution
