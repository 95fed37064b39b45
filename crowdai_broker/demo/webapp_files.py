"""Uploaded files of the small webapp: a presigned address to put one to, a key to fetch it by."""

from __future__ import annotations

import hmac
import secrets
import uuid
from collections import OrderedDict

MAX_FILE = 16_000_000  # bytes of one file
MAX_FILES = 200  # kept; the oldest goes first


class UploadedFiles:
    """Keeps files in memory by their ``s3_key``; a key is a capability, for it cannot be guessed."""

    def __init__(self) -> None:
        self._signatures: OrderedDict[str, str] = OrderedDict()
        self._files: OrderedDict[str, bytes] = OrderedDict()

    def presign(self) -> tuple[str, str]:
        """Return a new key, and the signature that lets somebody put a file there."""
        key = f"submissions/{uuid.uuid4()}"
        self._signatures[key] = secrets.token_urlsafe(16)
        _bound(self._signatures)
        return key, self._signatures[key]

    def put(self, key: str, signature: str, content: bytes) -> bool:
        """Store a file; tell whether the signature was the one given with the key."""
        expected = self._signatures.get(key)
        if expected is None or not hmac.compare_digest(expected.encode(), signature.encode()):
            return False
        self._files[key] = content
        _bound(self._files)
        return True

    def get(self, key: str) -> bytes | None:
        """Return a file, or ``None`` if there is none (any more)."""
        return self._files.get(key)


def _bound(kept: OrderedDict[str, str] | OrderedDict[str, bytes]) -> None:
    while len(kept) > MAX_FILES:
        kept.popitem(last=False)
