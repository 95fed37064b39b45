"""What a single value of the configuration must look like.

Each check takes a value of the right type and answers the value to keep (tidied, where that is safe), or
raises ``ValueError`` with what is wrong and what to do. No text of a check repeats the value: it may come
from a secret.
"""

from __future__ import annotations

import ipaddress
import re
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

from OpenSSL import SSL, crypto
from twisted.internet.endpoints import serverFromString

from .secret import Secret

_PORTED = re.compile(r"^(?:tcp|tcp6|ssl|tls):(?:.*:)?(?:port=)?(-?\d+)(?::|$)")
_PREFIX = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
_VERSION = re.compile(r"\d{1,9}(\.\d{1,9}){0,5}")
_GROUP = re.compile(r"[A-Za-z0-9_][\w.-]*(/[A-Za-z0-9_][\w.-]*)*")
_DEFAULT_PORT = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Check:
    """Marks a declared type, ``Annotated[T, Check(f)]``: ``f`` is asked after the type was found right."""

    ask: Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class FromEnvironment:
    """Marks a key that, left out of the file, is looked for in this environment variable."""

    name: str


class EmptyMeansNone:
    """Marks a key where an empty string in the file says that it is not set."""


def endpoint(text: str) -> str:
    """Accept a Twisted server endpoint string (``tcp:5000``, ``ssl:443:privateKey=…``) without listening."""
    try:
        serverFromString(object(), text)
    except (SSL.Error, crypto.Error):
        raise ValueError("its key or certificate cannot be used: each must be a PEM file") from None
    except OSError as why:
        raise ValueError(f"a file it names cannot be read: {why.strerror}") from None
    except (ValueError, LookupError, TypeError):
        raise ValueError(
            'is not a Twisted endpoint string: write for example "tcp:5000:interface=127.0.0.1"'
        ) from None
    port = _PORTED.match(text)
    if port and not 0 <= int(port[1]) <= 65535:
        raise ValueError("has a port outside 0 to 65535")
    return text


def web_url(text: str) -> str:
    """Accept an ``http(s)://host[:port][/path]``; the slash at its end is dropped."""
    parts = _split(text)
    if parts.username is not None or parts.password is not None:
        raise ValueError("must not hold a user or a password: they would be seen in logs")
    if parts.query or parts.fragment:
        raise ValueError("must not hold a query (?) or a fragment (#)")
    return text.rstrip("/")


def private_url(text: str) -> str:
    """Accept a :func:`web_url` that a key may be sent to: over TLS, or to this machine."""
    tidy = web_url(text)
    parts = urlsplit(tidy)
    if parts.scheme == "http" and not _is_this_machine(parts.hostname or ""):
        raise ValueError("must start with https:// (http:// only to this machine): a key is sent there")
    return tidy


def optional_url(text: str) -> str:
    """Accept a :func:`web_url` or nothing."""
    return web_url(text) if text else ""


def origin(text: str) -> str:
    """Accept the origin of a web page, ``scheme://host[:port]``, written as browsers send it."""
    parts = _split(text)
    if parts.path.strip("/") or parts.query or parts.fragment or parts.username is not None:
        raise ValueError('must be an origin alone: scheme and host, for example "https://www.crowdai.org"')
    host = (parts.hostname or "").lower()
    host = f"[{host}]" if ":" in host else host
    port = "" if parts.port in (None, _DEFAULT_PORT[parts.scheme]) else f":{parts.port}"
    return f"{parts.scheme}://{host}{port}"


def one_line(secret: Secret) -> Secret:
    """Accept a secret that fits in an HTTP header: visible ASCII without spaces."""
    if not all("!" <= character <= "~" for character in secret.reveal()):
        raise ValueError("must be one word of visible ASCII characters: no spaces, no line breaks")
    return secret


def needed(secret: Secret) -> Secret:
    """Accept a secret that is set: nothing works with an empty one, so it is found before the start."""
    if not secret:
        raise ValueError("is empty; set it")
    return secret


def plain_name(text: str) -> str:
    """Accept a name that people and other programs use: not empty, no control characters, no outer blanks."""
    if not text or text != text.strip() or len(text) > 200 or not text.isprintable():
        raise ValueError("must be 1 to 200 printable characters without blanks around them")
    return text


def optional_name(text: str) -> str:
    """Accept a :func:`plain_name` or nothing."""
    return plain_name(text) if text else ""


def directory(path: Path) -> Path:
    """Accept a directory, or a path where one can be made."""
    if path.exists() and not path.is_dir():
        raise ValueError("must be a directory: a file is there")
    return path


def authority_file(path: Path) -> Path:
    """Accept a file of PEM certificates."""
    try:
        ssl.create_default_context(cafile=str(path))
    except ssl.SSLError:
        raise ValueError(f"file {path} holds no PEM certificate") from None
    except OSError as why:
        raise ValueError(f"file {path} cannot be read: {why.strerror}") from None
    return path


def key_prefix(text: str) -> str:
    """Accept what every key of ours in Redis starts with."""
    if not _PREFIX.fullmatch(text):
        raise ValueError("must be 1 to 64 letters, digits or any of _ . : -")
    return text


def optional_version(text: str) -> str:
    """Accept a version of numbers and dots (``1.0.22``) or nothing."""
    if text and not _VERSION.fullmatch(text):
        raise ValueError('must be a version like "1.0.22", or empty for any')
    return text


def group_path(text: str) -> str:
    """Accept the path of a GitLab group, ``group`` or ``group/subgroup``."""
    if not _GROUP.fullmatch(text) or len(text) > 255:
        raise ValueError('must be the path of a group, for example "crowdai-challenges"')
    return text


def _split(text: str) -> SplitResult:
    """Split an http(s) URL, or say in what way it is none."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError("is not a URL: its host or port is malformed") from None
    if parts.scheme not in _DEFAULT_PORT:
        raise ValueError("must start with http:// or https://")
    if not parts.hostname or port == 0 or re.search(r"[\s\x00-\x1f\x7f\\]", text):
        raise ValueError('is not a URL: write for example "https://www.crowdai.org"')
    return parts


def _is_this_machine(host: str) -> bool:
    """Tell whether ``host`` names the loopback interface."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
