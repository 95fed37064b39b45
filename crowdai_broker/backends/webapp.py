"""The webapp's HTTP API (``/api/external_graders``, ``/api/challenges``) as the broker uses it.

``Authorization: Token token=<key>`` on every call, JSON bodies, certificates always checked. Keys are in
the header or, for one call, in the path as the API demands it; they are in no text, log or query.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from hyperlink import DecodedURL
from twisted.internet import defer
from twisted.internet.defer import CancelledError, Deferred, DeferredSemaphore
from twisted.internet.error import ConnectError, DNSLookupError
from twisted.internet.interfaces import IReactorTime
from twisted.web._newclient import RequestNotSent
from twisted.web.client import HTTPConnectionPool
from zope.interface import implementer

from ..core.webapp_model import (
    ChallengeInfo,
    ChallengeLookup,
    Graded,
    GradeFields,
    Lookup,
    Registered,
    RegisterFields,
    Submission,
)
from ..errors import WebappDenied, WebappRefused, WebappUnavailable
from ..http_client import (
    MAX_PARALLEL,
    AnswerTooLong,
    Client,
    NotConnected,
    connection_pool,
    http_client,
    read_body,
    tls_policy,
)
from ..interfaces import IWebapp
from . import webapp_answers as answers
from .webapp_answers import Answer

MAX_ANSWER = 1_000_000  # bytes of an answer's body
MAX_LIST = 32_000_000  # bytes of a challenge's whole list of submissions
MAX_CHALLENGE_NAME = 255  # characters, as wide as the webapp's column

_SANE_KEY = re.compile(r"[A-Za-z0-9_-]{1,128}")
_PROBE_KEY = "0" * 32  # of the right form, and nobody's

T = TypeVar("T")


class Outcome(enum.StrEnum):
    """How a call ended, for metrics."""

    OK = "ok"
    REFUSED = "refused"  #: 400
    DENIED = "denied"  #: 401
    NOT_DONE = "not_done"  #: no usable answer, and the webapp cannot have acted
    UNKNOWN = "unknown"  #: no usable answer; it may have acted


Observer = Callable[[str, Outcome], None]
"""Called with the name of an :class:`~crowdai_broker.interfaces.IWebapp` method and how the call ended."""


def _ignore(_call: str, _outcome: Outcome) -> None:
    pass


def _clean(value: Any) -> Any:
    """Drop what the webapp's database refuses in text for ever: NUL, and halves of surrogate pairs."""
    if isinstance(value, str):
        return value.replace("\0", "").encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_clean(key): _clean(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_clean(each) for each in value]
    return value


def request_body(fields: RegisterFields | GradeFields) -> bytes:
    """Return the JSON body: what is ``None`` or empty left out, ``meta`` as a string of JSON."""
    given: dict[str, Any] = {
        name: _clean(value)
        for name, value in msgspec.structs.asdict(fields).items()
        if value not in (None, "", {})
    }
    if isinstance(given.get("meta"), dict):
        given["meta"] = msgspec.json.encode(given["meta"]).decode()
    return msgspec.json.encode(given)


@implementer(IWebapp)
class Webapp:
    """Calls the webapp; see :class:`~crowdai_broker.interfaces.IWebapp` for each method.

    :param base_url: e.g. ``https://www.crowdai.org``; may have a path.
    :param api_key: the broker's own key.
    :param client: a treq client, or a stub with its ``request``.
    :param clock: measures ``timeout``; also the wall clock that a ``Retry-After`` date is compared with.
    :param timeout: seconds for one call in all: waiting for its turn, connecting, the answer's last byte.
    :param observer: told how each call ended.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str,
        client: Client,
        clock: IReactorTime,
        timeout: float = 10.0,
        observer: Observer = _ignore,
    ) -> None:
        self._base = DecodedURL.from_text(base_url.rstrip("/"))
        self._api_key = api_key
        self._client = client
        self._clock = clock
        self._timeout = timeout
        self._observer = observer
        self._turns = DeferredSemaphore(MAX_PARALLEL)
        self._pool: HTTPConnectionPool | None = None

    @classmethod
    def connecting(
        cls,
        reactor: Any,
        base_url: str,
        api_key: str,
        *,
        timeout: float = 10.0,
        ca_file: Path | str | None = None,
        observer: Observer = _ignore,
    ) -> Webapp:
        """Return one with its own pool of connections.

        :param ca_file: PEM file of authorities to trust beside the platform's; there is no way not to check.
        :raises ConfigError: that file cannot be used.
        """
        pool = connection_pool(reactor)
        client = http_client(reactor, pool, tls_policy(ca_file), timeout)
        webapp = cls(base_url, api_key, client, reactor, timeout, observer)
        webapp._pool = pool
        return webapp

    async def close(self) -> None:
        """Close the connections that are kept; calls under way end as they would."""
        if self._pool is not None:
            await self._pool.closeCachedConnections()

    # --- questions ------------------------------------------------------------------------------------

    async def participant(self, api_key: str) -> int | None:
        """Ask whose key this is; one that no webapp ever gave is answered here, without a call."""
        if not _SANE_KEY.fullmatch(api_key):
            return None
        url = self._url("external_graders", api_key)
        return await self._ask("participant", url, answers.participant)

    async def challenge_config(self, challenge: str) -> ChallengeLookup:
        """Look a challenge up by its client name; a name that none can have is answered here."""
        if not (challenge.isprintable() and 0 < len(challenge) <= MAX_CHALLENGE_NAME):
            return ChallengeLookup(Lookup.UNKNOWN)
        url = self._url("external_graders", "challenge_config").add("challenge_client_name", challenge)
        return await self._ask("challenge_config", url, answers.challenge_config)

    async def challenge(self, number: int) -> ChallengeInfo | None:
        """Ask for a challenge and its rounds."""
        return await self._ask("challenge", self._url("challenges", str(number)), answers.challenge)

    async def submission_info(self, submission_id: int) -> Submission | None:
        """Ask how a submission stands."""
        url = self._url("external_graders", str(submission_id), "submission_info")
        return await self._ask("submission_info", url, answers.submission_info)

    async def submissions(
        self, number: int, organizer_api_key: str, after: datetime | None = None
    ) -> list[Submission]:
        """Ask for the submissions of a challenge, all of them in one answer.

        :param after: only those created at or after it (read off the public webapp's code); is not sent
            unless given, since the two machines' clocks need not agree.
        """
        url = self._url("challenges", str(number), "submissions")
        if after is not None:
            url = url.add("after", after.astimezone(UTC).isoformat())
        return await self._ask("submissions", url, answers.submissions, key=organizer_api_key, limit=MAX_LIST)

    async def check_key(self) -> None:
        """Ask for a key that nobody has: "nobody" shows that the webapp is there and accepts ours."""
        url = self._url("external_graders", _PROBE_KEY)
        await self._ask("check_key", url, answers.participant)

    # --- what changes something: sent once, never repeated here ----------------------------------------

    async def register(self, fields: RegisterFields) -> Registered:
        """Create a submission."""
        url = self._url("external_graders")
        return await self._call("register", "POST", url, answers.registered, body=request_body(fields))

    async def grade(self, submission_id: int, fields: GradeFields) -> Graded:
        """Put a grade on a submission."""

        def read(answer: Answer) -> Graded:
            return answers.graded(answer, submission_id)

        url = self._url("external_graders", str(submission_id))
        return await self._call("grade", "PATCH", url, read, body=request_body(fields))

    # --- one call -------------------------------------------------------------------------------------

    def _url(self, *segments: str) -> DecodedURL:
        return self._base.child("api", *segments)

    async def _ask(self, name: str, url: DecodedURL, read: Callable[[Answer], T], **options: Any) -> T:
        return await self._call(name, "GET", url, read, **options)

    async def _call(
        self, name: str, method: str, url: DecodedURL, read: Callable[[Answer], T], **options: Any
    ) -> T:
        """Send one request and read its answer; tell the observer how it ended."""
        outcome = Outcome.UNKNOWN
        try:
            result = read(await self._answer(method, url, **options))
            outcome = Outcome.OK
        except WebappRefused:
            outcome = Outcome.REFUSED
            raise
        except WebappDenied:
            outcome = Outcome.DENIED
            raise
        except WebappUnavailable as error:
            outcome = Outcome.NOT_DONE if error.definitely_not_done else Outcome.UNKNOWN
            raise
        finally:
            self._observer(name, outcome)
        return result

    async def _answer(self, method: str, url: DecodedURL, **options: Any) -> Answer:
        """Return the answer within the time there is, or raise :class:`WebappUnavailable`."""
        exchange = Deferred.fromCoroutine(self._exchange(method, url, **options))
        exchange.addTimeout(self._timeout, self._clock)
        late = False
        try:
            return await exchange
        except NotConnected as error:
            reason, not_done = f"cannot be reached ({error})", True
        except (RequestNotSent, ConnectError, DNSLookupError):
            reason, not_done = "cannot be reached", True
        except (defer.TimeoutError, CancelledError):
            reason, not_done, late = f"did not answer within {self._timeout:g} s", False, True
        except AnswerTooLong:
            reason, not_done = "sent an answer that is too long", False
        except Exception as error:  # noqa: BLE001 - whatever broke HTTP, the request may have arrived
            reason, not_done = f"broke off ({type(error).__name__})", False
        # Outside the handler: no cause is chained, for a cause may hold the request.
        raise WebappUnavailable(f"the webapp {reason}", definitely_not_done=not_done, still_at_work=late)

    async def _exchange(
        self, method: str, url: DecodedURL, body: bytes | None = None, key: str = "", limit: int = MAX_ANSWER
    ) -> Answer:
        try:
            await self._turns.acquire()
        except CancelledError:
            raise NotConnected("too many calls wait for it") from None
        try:
            response = await self._client.request(
                method,
                url.to_uri().to_text(),
                headers=self._headers(key or self._api_key, body),
                data=body,
                allow_redirects=False,
                unbuffered=True,
            )
            header = response.headers.getRawHeaders("retry-after", [None])[-1]
            wait = answers.retry_after(header, self._clock.seconds())
            return Answer(response.code, await read_body(response, limit), wait)
        finally:
            self._turns.release()

    def _headers(self, key: str, body: bytes | None) -> dict[str, str]:
        headers = {"Authorization": f"Token token={key}", "Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        return headers
