"""Listens on every endpoint of ``broker.listen``, or on none."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import maybeDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory
from twisted.logger import Logger

from ..errors import StartupError


class Listening:
    """The open ports of a site.

    :param endpoints: Twisted endpoint strings.
    """

    log = Logger()

    def __init__(self, reactor: Any, site: IProtocolFactory, endpoints: Sequence[str]) -> None:
        self._reactor = reactor
        self._site = site
        self._endpoints = endpoints
        self.ports: list[IListeningPort] = []

    async def start(self) -> None:
        """Listen.

        :raises StartupError: one of the endpoints cannot be used; then none is.
        """
        try:
            for text in self._endpoints:
                self.ports.append(await self._listen(text))
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Take no more connections; those that are open stay."""
        while self.ports:
            await maybeDeferred(self.ports.pop().stopListening)

    async def _listen(self, text: str) -> IListeningPort:
        try:
            port: IListeningPort = await serverFromString(self._reactor, text).listen(self._site)
        except CannotListenError as why:
            reason = getattr(why.socketError, "strerror", None) or str(why.socketError)
            raise StartupError(f"broker.listen: {text}: cannot listen: {reason}") from None
        except OSError as why:
            raise StartupError(f"broker.listen: {text}: cannot listen: {why.strerror}") from None
        self.log.info("listening on {address}", address=readable_address(port.getHost()))
        return port


def readable_address(address: Any) -> str:
    """Return an address as people write it: ``127.0.0.1:5000``, or the path of a socket."""
    if isinstance(address, IPv4Address):
        return f"{address.host}:{address.port}"
    if isinstance(address, IPv6Address):
        return f"[{address.host}]:{address.port}"
    if isinstance(address, UNIXAddress) and address.name is not None:
        return str(os.fsdecode(address.name))
    return str(address)
