"""Graders that are called: ``POST <url>/enqueue_grading_job``, a form as the webapp writes it.

What public graders do (read off one): they take ``data[][submission_id]``, ``data[][file_key]`` and
``grader_id`` from the form, answer 200 at once and grade then; 400 with a ``message`` says that they will
not. Whatever else comes back, or nothing, says nothing about the job: it is tried again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
from hyperlink import DecodedURL
from msgspec import Struct
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.web.client import HTTPConnectionPool
from twisted.web.iweb import IResponse
from zope.interface import implementer
from zope.interface.verify import verifyClass

from ..config import ChallengeConfig
from ..core.capabilities import Capabilities
from ..core.model import Handing, Job, Taken, queue_of
from ..core.nested_form import encode
from ..errors import GraderBusy, GraderRefused, GraderUnreachable
from ..http_client import Client, NotConnected, connection_pool, http_client, read_body, tls_policy
from ..interfaces import IGrader

TIMEOUT: Final = 10.0  # s for one call until the head of its answer, and as long for the rest
MAX_ANSWER: Final = 65_536  # bytes of an answer's body
MAX_REASON: Final = 2000  # characters of a refusal that are passed on
AT_ONCE: Final = 4  # calls under way to one address: one that hangs must not hold up the others' effects
REST: Final = 3.0  # s for which an address that did not answer is not called again

CANNOT_BE_SAID = (
    "The data of this job has a member whose name is empty or holds a bracket; no form can say it."
)


class _Origin(Struct):
    api_key: str = ""
    client_response_channel: str = ""
    submission_id: int | None = None


class _Order(Struct):
    function_name: str
    data: Any
    dry_run: bool
    extra_params: _Origin


_decode = msgspec.json.Decoder(_Order).decode


def form_of(challenge: ChallengeConfig, taken: Taken, callback_url: str) -> dict[str, Any]:
    """Return the fields of an order's form.

    The numbers of submission and participant are the broker's: what the participant's own data says of them
    is left out. They come first in each object, so that each begins with the same name.
    """
    order, job, grader = _decode(taken.order), taken.job, challenge.grader
    known = {
        "submission_id": order.extra_params.submission_id,
        "participant_id": job.participant_id or None,
    }
    items = order.data if isinstance(order.data, list) else [order.data]
    rows = [{**known, **_without(item, known)} if isinstance(item, dict) else item for item in items]
    if not any(isinstance(row, dict) for row in rows):
        rows.insert(0, known)
    fields = {
        "response_channel": order.extra_params.client_response_channel,
        "session_token": "na",
        "api_key": order.extra_params.api_key if grader.share_api_key else "",
        "grader_id": queue_of(job, grader.queue),
        "challenge_client_name": job.challenge,
        "function_name": order.function_name,
        "data": rows,
        "dry_run": order.dry_run,
        "parallel": False,
        "enqueue_only": True,
        "callback_url": callback_url,
    }
    token = grader.token.reveal()
    return {**fields, "grader_api_key": token} if token else fields


def _without(item: dict[str, Any], names: Mapping[str, object]) -> dict[str, Any]:
    return {name: value for name, value in item.items() if name not in names}


class _NoAnswer(GraderUnreachable):
    """Nobody answered; this says something of the address, not of the order."""


class _Address:
    """What is known of one address: calls under way, and until when it is left alone."""

    def __init__(self) -> None:
        self.under_way = 0
        self.rests_until = 0.0
        self.reason = ""


@implementer(IGrader)
class HttpGraders:
    """Graders on HTTP.

    :param client: a treq client, or a stub with its ``request``.
    :param public_url: where graders reach this broker, without a slash at the end.
    """

    def __init__(
        self, clock: IReactorTime, client: Client, capabilities: Capabilities, public_url: str
    ) -> None:
        self._clock = clock
        self._client = client
        self._capabilities = capabilities
        self._public_url = public_url.rstrip("/")
        self._addresses: defaultdict[str, _Address] = defaultdict(_Address)
        self._pool: HTTPConnectionPool | None = None

    @classmethod
    def connecting(
        cls, reactor: Any, capabilities: Capabilities, public_url: str, ca_file: Path | str | None = None
    ) -> HttpGraders:
        """Return one with its own pool of connections.

        :param ca_file: PEM file of authorities to trust beside the platform's; there is no way not to check.
        :raises ConfigError: that file cannot be used.
        """
        pool = connection_pool(reactor)
        graders = cls(
            reactor, http_client(reactor, pool, tls_policy(ca_file), TIMEOUT), capabilities, public_url
        )
        graders._pool = pool
        return graders

    async def close(self) -> None:
        """Close the connections that are kept; calls under way end as they would."""
        if self._pool is not None:
            await self._pool.closeCachedConnections()

    def handing(self, challenge: ChallengeConfig) -> Handing:
        """Each order is a call."""
        return Handing.BY_EFFECT

    def room(self, name: str, challenge: ChallengeConfig) -> int:
        """Return that a grader has room for what the configuration allows."""
        return challenge.grader.max_in_flight

    async def dispatch(self, challenge: ChallengeConfig, order: Taken) -> None:
        """Call the grader."""
        capability = await self._capabilities.of(order.job.attempt)
        callback_url = f"{self._public_url}/graders/events/{capability}"
        try:
            body = encode(form_of(challenge, order, callback_url))
        except ValueError:
            raise GraderRefused(CANNOT_BE_SAID) from None
        await self._call(challenge.grader.url, body)

    async def untaken(self, challenge: ChallengeConfig, queue: str) -> int:
        """Return that nothing lies around: what was not taken is still with the broker."""
        return 0

    async def lies(self, challenge: ChallengeConfig, job: Job) -> bool:
        """Tell that an order that was handed out is in a grader's hands."""
        return False

    async def withdraw(self, challenge: ChallengeConfig, job: Job) -> bool:
        """Take nothing back: public graders know no way to."""
        return False

    # --- one call -------------------------------------------------------------------------------------

    async def _call(self, url: str, body: bytes) -> None:
        """Call an address, if it does not rest and few calls are under way to it."""
        address = self._addresses[url]
        if self._clock.seconds() < address.rests_until:
            raise GraderUnreachable(address.reason)
        if address.under_way >= AT_ONCE:
            raise GraderBusy("others are on their way")
        address.under_way += 1
        try:
            response = await self._begin(DecodedURL.from_text(url.rstrip("/")), body)
            _read(response.code, await self._rest(response))
        except _NoAnswer as error:
            address.reason = str(error)
            address.rests_until = self._clock.seconds() + REST
            raise
        finally:
            address.under_way -= 1

    async def _begin(self, base: DecodedURL, body: bytes) -> IResponse:
        """Return the head of the answer."""
        asked = self._client.request(
            "POST",
            base.child("enqueue_grading_job").to_uri().to_text(),
            headers={"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"},
            data=body,
            allow_redirects=False,
            unbuffered=True,
        )
        try:
            return await asked.addTimeout(TIMEOUT, self._clock)
        except NotConnected as error:
            reason = f"the grader cannot be reached ({error})"
        except Exception as error:  # noqa: BLE001 - whatever broke HTTP, the grader did not say that it has it
            reason = f"the grader did not answer ({type(error).__name__})"
        # Outside the handler: no cause is chained, for a cause may hold the request.
        raise _NoAnswer(reason)

    async def _rest(self, response: IResponse) -> bytes:
        """Return the body; without one, the status says enough."""
        body = Deferred.fromCoroutine(read_body(response, MAX_ANSWER))
        try:
            return await body.addTimeout(TIMEOUT, self._clock)
        except Exception:  # noqa: BLE001 - too long, too slow or cut off: then it says nothing
            return b""


def _read(status: int, body: bytes) -> None:
    """Return if the grader has the order, raise if not."""
    if status == 200:
        return
    try:
        said = msgspec.json.decode(body) if status == 400 else None
    except (msgspec.DecodeError, RecursionError):
        said = None
    message = said.get("message") if isinstance(said, dict) else None
    if isinstance(message, str) and message.strip():
        raise GraderRefused(message.strip()[:MAX_REASON])
    raise GraderUnreachable(f"the grader answered with status {status}")


verifyClass(IGrader, HttpGraders)
