"""Who may do what: keys of participants, and the sessions they open."""

from __future__ import annotations

import hashlib
import secrets

from twisted.internet.interfaces import IReactorTime

from ..errors import PeerError, WebappError
from ..interfaces import IStore, IWebapp
from .model import Session
from .remember import Remembered
from .requests import Authenticate

KEY_TTL = 60.0  # seconds a good API key is believed; a bad one is asked about each time
MAX_KEYS = 20_000
TOKEN_BYTES = 24  # 192 bits


class WrongKey(PeerError):
    """Nobody has that API key."""


def digest(text: str) -> str:
    """Return the hex SHA-256 under which a secret of high entropy is kept."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


class Sessions:
    """Opens, checks and closes sessions.

    :param ttl: seconds a session lasts.
    """

    def __init__(self, clock: IReactorTime, store: IStore, webapp: IWebapp, ttl: int) -> None:
        self._store = store
        self._webapp = webapp
        self._ttl = ttl
        self._participants: Remembered[int] = Remembered(clock, KEY_TTL, MAX_KEYS)

    async def open(self, request: Authenticate) -> str:
        """Check the key and return a new session's token.

        :raises WrongKey: nobody has this key.
        :raises PeerError: the key cannot be checked now.
        """
        key_hash = digest(request.api_key)
        try:
            participant = await self._participants.get(key_hash, lambda: self._participant(request.api_key))
        except WebappError:
            raise PeerError(
                "Your API key cannot be checked right now, because the challenge site does not answer. "
                "Please try again in a minute."
            ) from None
        token = secrets.token_urlsafe(TOKEN_BYTES)
        session = Session(participant, request.challenge, key_hash, request.client_version)
        await self._store.open_session(digest(token), session, self._ttl)
        return token

    async def check(self, token: str, api_key: str | None = None) -> Session:
        """Return the session of a token, if it is this participant's.

        :raises PeerError: saying what does not fit.
        """
        session = await self._store.session(digest(token))
        if session is None:
            raise PeerError(
                "Not authenticated: this session_token is not known or is over; authenticate again."
            )
        if api_key is not None and not secrets.compare_digest(digest(api_key), session.api_key_hash):
            raise PeerError("This session_token was opened with another API key; authenticate again.")
        return session

    async def close(self, token: str) -> bool:
        """End a session at once; tell whether there was one."""
        return await self._store.close_session(digest(token))

    async def _participant(self, api_key: str) -> int:
        participant = await self._webapp.participant(api_key)
        if participant is None:
            raise WrongKey(
                "The API key did not match any participant record. "
                "Copy it anew from your profile on the challenge site."
            )
        return participant
