"""A small webapp with the API that the broker needs: for the demo, for tests, and as a process of its own.

``python -m crowdai_broker.demo.webapp --help`` tells how to run it alone.

Records are kept in memory and are gone with the process.
"""

from __future__ import annotations

import secrets
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import msgspec
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint
from twisted.internet.protocol import Protocol
from twisted.internet.task import react
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from twisted.web.server import Site

from .webapp_api import Api
from .webapp_control import Control
from .webapp_faults import Faults
from .webapp_files import UploadedFiles
from .webapp_site import BoundedRequest, WebappResource
from .webapp_state import WebappState

IDLE = 60  # seconds a connection is kept without a request


class _Tracked(ProtocolWrapper):
    """A connection that tells when it is gone."""

    def __init__(self, factory: WrappingFactory[_Tracked], wrapped: Protocol) -> None:
        super().__init__(factory, wrapped)
        self.gone: Deferred[None] = Deferred()

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        super().connectionLost(reason)  # type: ignore[no-untyped-call]
        self.gone.callback(None)


class _Connections(WrappingFactory[_Tracked]):
    """Knows the connections of a site, so that they can be counted and closed."""

    protocol = _Tracked
    noisy = False

    def close_all(self) -> Deferred[Any]:
        """Close every connection at once; fire when all are gone."""
        open_ones = list(self.protocols)
        for each in open_ones:
            each.transport.abortConnection()
        return DeferredList([each.gone for each in open_ones])


class DemoWebapp:
    """The small webapp on a port.

    :param api_key: the key that the broker has to show.
    :param clock: returns the time in seconds since the epoch; default: the reactor's.
    :param control: also answer ``/_control`` (faults, state), to this machine only.
    :ivar state: its records; fill it with ``add_participant`` and ``add_challenge``.
    :ivar faults: what shall go wrong.
    :ivar files: what was uploaded.
    """

    def __init__(
        self,
        reactor: Any,
        api_key: str = "",
        *,
        clock: Callable[[], float] | None = None,
        control: bool = False,
    ) -> None:
        self.api_key = api_key or secrets.token_hex(16)
        self.state = WebappState(clock or reactor.seconds)
        self.faults = Faults()
        self.url = ""
        self._reactor = reactor
        self.files = UploadedFiles()
        self._api = Api(self.state, self.files, self.api_key)
        self.resource = WebappResource(reactor, self._api, self.faults)
        if control:
            self.resource.control = Control(self.state, self.faults, self.resource)
        site = Site(self.resource, requestFactory=BoundedRequest, timeout=IDLE, reactor=reactor)
        self.site = _Connections(site)  # type: ignore[no-untyped-call]
        self._port: IListeningPort | None = None

    async def start(self, port: int = 0, endpoint: IStreamServerEndpoint | None = None) -> str:
        """Listen on ``port`` of this machine (0: the system chooses) and return the address.

        :param endpoint: listen there instead, e.g. with TLS; ``url`` then is for the caller to set.
        """
        server = endpoint or TCP4ServerEndpoint(self._reactor, port, interface="127.0.0.1")
        self._port = await server.listen(self.site)
        self.set_url(f"http://127.0.0.1:{self.port}")
        return self.url

    @property
    def port(self) -> int:
        """The port it listens on."""
        assert self._port is not None, "it was started"
        address: Any = self._port.getHost()
        return int(address.port)

    def set_url(self, url: str) -> None:
        """Say what address others use; presigned ones begin with it."""
        self.url = self._api.base_url = url

    def change_key(self, api_key: str) -> None:
        """Accept only another key of the broker from now on."""
        self.api_key = self._api.api_key = api_key

    async def pause(self) -> None:
        """Stop listening and close every connection, as a webapp that is down; the records stay."""
        if self._port is not None:
            stopped = self._port.stopListening()
            if stopped is not None:
                await stopped
            self._port = None
        await self.site.close_all()

    async def stop(self) -> None:
        """End for good: nothing of it is left in the reactor."""
        self.faults.clear()
        await self.pause()
        self.faults.release()


class _Seed(msgspec.Struct, forbid_unknown_fields=True):
    """What a seed file may hold: the arguments of ``add_participant`` and ``add_challenge``."""

    participants: list[dict[str, str]] = []
    challenges: list[dict[str, Any]] = []


def seed(state: WebappState, content: bytes) -> None:
    """Fill the records from JSON: ``{"participants": [{"name", "api_key"}], "challenges": [{"number", …}]}``.

    A round is given as the arguments of :meth:`~crowdai_broker.demo.webapp_state.WebappState.round`.
    """
    given = msgspec.json.decode(content, type=_Seed)
    for participant in given.participants:
        state.add_participant(**participant)
    for challenge in given.challenges:
        rounds = challenge.pop("rounds", None)
        made = [state.round(**each) for each in rounds] if rounds is not None else None
        state.add_challenge(rounds=made, **challenge)


def _pairs(given: tuple[str, ...]) -> list[tuple[str, str]]:
    for each in given:
        if "=" not in each:
            raise click.BadParameter(f"{each!r} has no '='")
    return [(name, value) for name, _, value in (each.partition("=") for each in given)]


def _fill(state: WebappState, options: dict[str, Any]) -> None:
    if options["seed"]:
        seed(state, Path(options["seed"]).read_bytes())
    for name, key in _pairs(options["participant"]):
        state.add_participant(name, key)
    for number, client_name in _pairs(options["challenge"]):
        state.add_challenge(int(number), client_name, organizer_api_key=options["organizer_key"])


async def _run(reactor: Any, options: dict[str, Any]) -> None:
    webapp = DemoWebapp(reactor, options["api_key"], control=options["control"])
    _fill(webapp.state, options)
    await webapp.start(options["port"])
    print(webapp.port if options["print_port"] else webapp.url, flush=True)
    stopped: Deferred[None] = Deferred()
    reactor.addSystemEventTrigger("before", "shutdown", stopped.callback, None)
    await stopped
    await webapp.stop()


@click.command()
@click.option("--port", default=0, help="Port on this machine; 0: the system chooses one.")
@click.option("--print-port", is_flag=True, help="Print the port alone, not the address.")
@click.option("--api-key", envvar="CROWDAI_API_KEY", default="demo-broker-key", help="The broker's key.")
@click.option("--organizer-key", default="demo-organizer-key", help="Organizer's key of each --challenge.")
@click.option("--participant", multiple=True, metavar="NAME=KEY", help="A participant; may be repeated.")
@click.option("--challenge", multiple=True, metavar="NUMBER=NAME", help="A challenge; may be repeated.")
@click.option("--seed", type=click.Path(exists=True, dir_okay=False), help="JSON file of more of both.")
@click.option("--control", is_flag=True, help="Answer /_control (faults, state), to this machine only.")
def main(**options: Any) -> None:
    """Run the small webapp until it is stopped."""
    react(lambda reactor: Deferred.fromCoroutine(_run(reactor, options)))


if __name__ == "__main__":
    sys.exit(main())
