"""Capabilities of attempts: who holds one may report the events of that attempt, and nothing else.

``<attempt's number>-<HMAC-SHA-256 of it, base64url>``. The secret is shared by all nodes, so any of them
checks what another gave out, and nothing needs to be stored for an attempt.
"""

from __future__ import annotations

import hmac
import re
from base64 import urlsafe_b64encode

from ..interfaces import IStore

SECRET = "attempts"  # noqa: S105 - the name it is kept under
_FORM = re.compile(r"([0-9]{1,20})-[A-Za-z0-9_-]{43}")


class Capabilities:
    """Gives out capabilities and checks them."""

    def __init__(self, store: IStore) -> None:
        self._store = store
        self._secret = b""

    async def of(self, number: str) -> str:
        """Return the capability of the attempt with this number.

        :raises StoreUnavailable: the secret is not known yet, and the store does not answer.
        """
        self._secret = self._secret or await self._store.secret(SECRET)
        digest = hmac.digest(self._secret, number.encode(), "sha256")
        return f"{number}-{urlsafe_b64encode(digest).decode().rstrip('=')}"

    async def number_of(self, capability: str) -> str | None:
        """Return the number of the attempt that a capability is of, ``None`` for anything else.

        :raises StoreUnavailable: as :meth:`of`.
        """
        match = _FORM.fullmatch(capability)
        if match is None:
            return None
        genuine = await self.of(match[1])
        return match[1] if hmac.compare_digest(genuine.encode(), capability.encode()) else None
