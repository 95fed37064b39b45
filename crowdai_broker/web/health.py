"""``/healthz`` and ``/readyz``: does the process live, and can it do its work now.

``/healthz`` is 200 as long as the process answers at all: whoever watches may restart it otherwise.
``/readyz`` is 200 ``ready`` or 503 with ``{"not_ready": {"redis": "no answer within 2 s"}}``: whoever
balances loads may send clients elsewhere; a restart would help nobody.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.defer import TimeoutError as TookTooLong
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.web.http import SERVICE_UNAVAILABLE, Request
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from ..errors import BrokerError

PATIENCE = 2.0  # seconds for one probe
KEPT_FOR = 1.0  # seconds for which an answer is given again

Probe = Callable[[], Awaitable[Any]]
"""Comes back if what it asks about can be used, raises :class:`BrokerError` with a reason if not."""


class Readiness:
    """Asks all probes at once, and no more often than once a second however many ask.

    :param probes: by the name of what they ask about.
    """

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        probes: Mapping[str, Probe],
        patience: float = PATIENCE,
        kept_for: float = KEPT_FOR,
    ) -> None:
        self._clock = clock
        self._probes = dict(probes)
        self._patience = patience
        self._kept_for = kept_for
        self._known: dict[str, str] = {}
        self._until = float("-inf")
        self._waiting: list[Deferred[dict[str, str]]] | None = None
        self._looking: Deferred[None] | None = None

    def not_ready(self) -> Deferred[dict[str, str]]:
        """Return what cannot be used now, by name, with the reason; empty: everything can."""
        answer: Deferred[dict[str, str]] = Deferred(self._forget)
        if self._clock.seconds() < self._until:
            answer.callback(self._known)
        elif self._waiting is not None:
            self._waiting.append(answer)
        else:
            self._waiting = [answer]
            self._looking = Deferred.fromCoroutine(self._look())
        return answer

    async def _look(self) -> None:
        names = list(self._probes)
        asked = DeferredList([Deferred.fromCoroutine(self._ask(name)) for name in names])
        reasons = [reason for _, reason in await asked]
        self._known = {name: reason for name, reason in zip(names, reasons, strict=True) if reason}
        self._until = self._clock.seconds() + self._kept_for
        self._tell()

    async def _ask(self, name: str) -> str:
        """Return why ``name`` cannot be used, or nothing."""

        async def probe() -> None:
            await self._probes[name]()

        try:
            await Deferred.fromCoroutine(probe()).addTimeout(self._patience, self._clock)
        except (TookTooLong, CancelledError):
            return f"no answer within {self._patience:g} s"
        except BrokerError as why:
            return str(why)
        except Exception:  # noqa: BLE001 - a probe that is broken is not ready, and its text may hold anything
            self.log.failure("the probe of {name} failed", name=name)
            return "the probe failed"
        return ""

    def _tell(self) -> None:
        waiting, self._waiting = self._waiting or [], None
        for one in waiting:
            one.callback(self._known)

    def _forget(self, answer: Deferred[dict[str, str]]) -> None:
        if self._waiting and answer in self._waiting:
            self._waiting.remove(answer)


class Healthz(Resource):
    """``/healthz``."""

    isLeaf = True

    def render_GET(self, request: Request) -> bytes:
        """Answer 200, whatever else is wrong."""
        _plain(request)
        return b"ok\n"


class Readyz(Resource):
    """``/readyz``."""

    isLeaf = True

    def __init__(self, readiness: Readiness) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._readiness = readiness

    def render_GET(self, request: Request) -> int:
        """Answer once every probe has, which is soon."""
        asking = self._readiness.not_ready()
        request.notifyFinish().addErrback(lambda _: asking.cancel())
        asking.addCallbacks(self._answer, lambda _: None, callbackArgs=(request,))
        return NOT_DONE_YET

    def _answer(self, not_ready: dict[str, str], request: Request) -> None:
        _plain(request)
        if not_ready:
            request.setResponseCode(SERVICE_UNAVAILABLE)
            request.setHeader(b"content-type", b"application/json")
            request.write(msgspec.json.encode({"not_ready": not_ready}) + b"\n")
        else:
            request.write(b"ready\n")
        request.finish()


def _plain(request: Request) -> None:
    request.setHeader(b"content-type", b"text/plain; charset=utf-8")
    request.setHeader(b"cache-control", b"no-store")
