"""Who a grader is that connects, and whether it may have the jobs of the challenges that it names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from ..config import Secret
from ..errors import PeerError
from .catalogue import Catalogue
from .connected_grader import Hello
from .quotas import PerMinute
from .requests import MAX_NAME
from .sessions import digest

MOST_SLOTS = 256  # jobs at once of one grader
MOST_NAMED = 100  # challenges or functions that one grader names
KIND = "socketio"

_DENIED = (
    "The token is not that of every challenge named, or one of them has no graders of this kind. Compare "
    "with the operator's [challenges.NAME.grader]."
)


def read_hello(auth: Mapping[str, Any]) -> tuple[Hello, str]:
    """Read ``{"grader_id", "token", "slots", "functions", "challenges", "running"}``; return the token apart.

    :raises PeerError: naming the member that is wrong.
    """
    grader_id, token = _text(auth, "grader_id"), _text(auth, "token")
    challenges = _names(auth, "challenges")
    if not challenges:
        raise PeerError("'challenges' must name at least one challenge.")
    running = None if auth.get("running") is None else _names(auth, "running", MOST_SLOTS)
    hello = Hello(
        grader_id=grader_id,
        key=digest(f"{digest(token)} {digest(grader_id)}"),
        slots=read_slots(auth.get("slots", 1), least=1),
        functions=frozenset(_names(auth, "functions")),
        challenges=frozenset(challenges),
        running=running,
    )
    return hello, token


def read_slots(value: object, least: int = 0) -> int:
    """Return how many jobs a grader takes at once.

    :raises PeerError: it is no such number.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= MOST_SLOTS:
        raise PeerError(f"'slots' must be a whole number from {least} to {MOST_SLOTS}.")
    return value


def _text(auth: Mapping[str, Any], name: str) -> str:
    value = auth.get(name)
    if not isinstance(value, str) or not value or len(value) > MAX_NAME:
        raise PeerError(f"'{name}' must be a text of 1 to {MAX_NAME} characters.")
    return value


def _names(auth: Mapping[str, Any], name: str, most: int = MOST_NAMED) -> tuple[str, ...]:
    values = auth.get(name)
    if values is None:
        return ()
    good = isinstance(values, list) and all(
        isinstance(each, str) and len(each) <= MAX_NAME for each in values
    )
    if not good or len(values) > most:
        raise PeerError(f"'{name}' must be a list of at most {most} names.")
    return tuple(values)


class GraderDoor:
    """Lets graders in.

    :param failures: wrong tokens a minute and address; 0: any number.
    """

    log = Logger()

    def __init__(self, clock: IReactorTime, catalogue: Catalogue, failures: int) -> None:
        self._catalogue = catalogue
        self._wrong_tokens = PerMinute(clock, failures)

    async def admit(self, auth: Mapping[str, Any], address: str) -> Hello:
        """Return what a grader says of itself, once it has proved that it may have its challenges' jobs.

        :raises PeerError: with what to tell the grader; it does not say which challenge has another token.
        """
        if not self._wrong_tokens.allows(address):
            raise PeerError(
                "Too many wrong tokens came from your address. "
                f"Please try again in {self._wrong_tokens.wait(address)} s."
            )
        hello, token = read_hello(auth)
        denied = [name for name in sorted(hello.challenges) if not await self._fits(name, token)]
        if denied:
            self._wrong_tokens.use(address)
            self.log.warn(
                "grader {grader!r} at {address} was refused: no such grader of {challenges!r}",
                grader=hello.grader_id,
                address=address,
                challenges=denied,
            )
            raise PeerError(_DENIED)
        return hello

    async def _fits(self, challenge: str, token: str) -> bool:
        """Tell whether that is the token of a challenge, in the same time for every wrong one."""
        try:
            grader = (await self._catalogue.get(challenge)).grader
        except PeerError:
            return False
        expected = grader.token if grader.kind == KIND else Secret()
        return expected.matches(token)
