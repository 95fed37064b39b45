"""Where Redis is: the five forms of a Redis URL.

==============================================  ==========================================================
``embedded:``                                   a server of the broker's own, started and stopped with it
``redis://[user:password@]host[:port][/db]``    one server
``rediss://…``                                  the same over TLS, its certificate checked
``unix:///path[?db=N]``                         one server on this machine; ``user:password@`` before the path
``redis+sentinel://host[:port],…/service[/db]`` whichever server the sentinels say is the master
==============================================  ==========================================================

User and password are percent-encoded where they hold any of ``:/@%?#``.
"""

from __future__ import annotations

from typing import Literal
from urllib.parse import parse_qs, unquote

import msgspec

from .secret import Secret

Kind = Literal["embedded", "tcp", "tls", "unix", "sentinel"]

_KINDS: dict[str, Kind] = {"redis": "tcp", "rediss": "tls", "unix": "unix", "redis+sentinel": "sentinel"}
_PORTS: dict[Kind, int] = {"tcp": 6379, "tls": 6379, "sentinel": 26379}
_MOST_SENTINELS = 32


class RedisAddress(msgspec.Struct, frozen=True, kw_only=True):
    """A Redis URL, taken apart."""

    kind: Kind
    hosts: tuple[tuple[str, int], ...] = ()
    path: str = ""
    service: str = ""
    database: int = 0
    username: str = ""
    password: Secret = Secret()

    def describe(self) -> str:
        """Return where this is, fit for a log: without user and password."""
        where = ",".join(f"{host}:{port}" for host, port in self.hosts) or self.path
        return f"{self.kind} {where} {self.service}".strip()


def parse_redis_url(text: str) -> RedisAddress:
    """Take a Redis URL apart.

    :raises ValueError: saying what is wrong with it, without repeating it.
    """
    if text == "embedded:":
        return RedisAddress(kind="embedded")
    scheme, separator, rest = text.partition("://")
    if not separator or scheme not in _KINDS:
        raise ValueError(
            "must be embedded:, redis://host:port, rediss://host:port, unix:///path or "
            "redis+sentinel://host:port,host:port/service/db"
        )
    login, _, place = rest.rpartition("@")
    username, _, password = login.partition(":")
    kind = _KINDS[scheme]
    address = _unix(place) if kind == "unix" else _network(kind, place)
    return msgspec.structs.replace(address, username=unquote(username), password=Secret(unquote(password)))


def redis_url(secret: Secret) -> Secret:
    """Accept a Redis URL (held as a secret: it may hold a password)."""
    parse_redis_url(secret.reveal())
    return secret


def other_redis_url(secret: Secret) -> Secret:
    """Accept nothing, or the URL of a Redis that is not ours to start."""
    if secret.reveal() == "embedded:":
        raise ValueError("must name a server, or be empty for the one of [redis]")
    return redis_url(secret) if secret else secret


def _unix(place: str) -> RedisAddress:
    path, _, query = place.partition("?")
    if not path.startswith("/"):
        raise ValueError("must hold an absolute path: unix:///run/redis/redis.sock")
    values = parse_qs(query, keep_blank_values=True)
    if set(values) - {"db"}:
        raise ValueError("may have only ?db=N after the path")
    return RedisAddress(kind="unix", path=unquote(path), database=_database(values.get("db", ["0"])[-1]))


def _network(kind: Kind, place: str) -> RedisAddress:
    if "?" in place or "#" in place:
        raise ValueError("must not hold ? or #")
    names, *path = place.split("/")
    hosts = tuple(_host(name, _PORTS[kind]) for name in names.split(","))
    if kind == "sentinel":
        if not 1 <= len(path) <= 2 or not path[0] or len(hosts) > _MOST_SENTINELS:
            raise ValueError("must be redis+sentinel://host:port,host:port/service/db")
        return RedisAddress(
            kind=kind, hosts=hosts, service=unquote(path[0]), database=_database("".join(path[1:]))
        )
    if len(hosts) > 1 or len(path) > 1:
        raise ValueError(
            "names one host and one database; several hosts are for redis+sentinel://…/service/db"
        )
    return RedisAddress(kind=kind, hosts=hosts, database=_database("".join(path)))


def _host(text: str, default_port: int) -> tuple[str, int]:
    """Split ``host[:port]``; an IPv6 address stands in brackets."""
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        host, rest = (host, rest) if bracket else ("", rest)
    else:
        host, _, port = text.partition(":")
        rest = text[len(host) :]
    port = rest.removeprefix(":") if rest else str(default_port)
    if not host or not host.isprintable() or " " in host or (rest and not rest.startswith(":")):
        raise ValueError("has no usable host: write host or host:port")
    if not port.isascii() or not port.isdigit() or not 1 <= int(port[:6]) <= 65535:
        raise ValueError("has a port outside 1 to 65535")
    return host, int(port)


def _database(text: str) -> int:
    if text and not (text.isascii() and text.isdigit() and len(text) <= 5):
        raise ValueError("must name its database by a number")
    return int(text or "0")
