"""Keeps one Redis server running on the files in a directory, for as long as the broker runs.

A server that a broker before us left behind (it was killed) is adopted instead of started a second time.
One that dies is started again, with its data. At the stop it flushes and ends.
"""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectingCancelledError
from twisted.internet.interfaces import IReactorProcess, IReactorTime, IReactorUNIX
from twisted.internet.task import deferLater
from twisted.logger import Logger

from ...errors import StartupError
from . import place
from .probe import connect
from .server import Adopted, Child, Server, spawn
from .waiting import within

START_PATIENCE = 120.0  # seconds until it must serve: it reads its file first
STOP_PATIENCE = 15.0  # seconds until it must have flushed and ended
LOOK_AGAIN = 0.05  # seconds between looks whether it serves
SHORTEST_DELAY = 0.1  # seconds before the first new start
LONGEST_DELAY = 5.0
LIVED_WELL = 10.0  # seconds after which a death is not one of a row


class RedisReactor(IReactorProcess, IReactorTime, IReactorUNIX):
    """What this needs of a reactor."""


class EmbeddedRedis:
    """The embedded server.

    :param data_dir: where its files are; made if it is not there.
    :param patience: seconds that a start may take.
    """

    log = Logger()

    def __init__(self, reactor: RedisReactor, data_dir: Path, patience: float = START_PATIENCE) -> None:
        self._reactor = reactor
        self._data_dir = data_dir
        self._patience = patience
        self._socket = place.socket_path(data_dir)
        self._server: Server | None = None
        self._keeping: Deferred[None] | None = None

    @property
    def url(self) -> str:
        """The server's URL, ``unix:///…``; known before it is started, and never another."""
        return f"unix://{quote(str(self._socket))}"

    @property
    def pid(self) -> int | None:
        """The server's process id while it runs."""
        return None if self._server is None or self._server.ended.over else self._server.pid

    def start(self) -> Deferred[str]:
        """Start or adopt a server.

        :returns: its URL, once it serves.
        :raises StartupError: there can be none; says why.
        """
        return Deferred.fromCoroutine(self._start())

    def stop(self) -> Deferred[None]:
        """End the server; fires when it has ended. Harmless if nothing was started."""
        return Deferred.fromCoroutine(self._stop())

    async def _start(self) -> str:
        place.prepare(self._data_dir)
        self._data_dir = self._data_dir.resolve()
        self._server = await self._obtain()
        self._keeping = Deferred.fromCoroutine(self._keep(self._server))
        return self.url

    async def _stop(self) -> None:
        keeping, self._keeping = self._keeping, None
        if keeping is not None:
            keeping.cancel()
            await keeping
        server, self._server = self._server, None
        if server is not None:
            await self._end(server)

    async def _end(self, server: Server) -> None:
        server.terminate()
        await within(self._reactor, STOP_PATIENCE, server.ended.wait())
        if not server.ended.over:
            self.log.error("the embedded Redis did not end within {s} s and is killed", s=STOP_PATIENCE)
            server.kill()
            await within(self._reactor, STOP_PATIENCE, server.ended.wait())

    async def _keep(self, server: Server) -> None:
        """Replace the server whenever it ends, until cancelled."""
        delay = SHORTEST_DELAY
        try:
            while True:
                since = self._reactor.seconds()
                await server.ended.wait()
                delay = SHORTEST_DELAY if self._reactor.seconds() - since >= LIVED_WELL else delay
                self.log.error("the embedded Redis has ended; it is started again in {s:.1f} s", s=delay)
                server, delay = await self._replace(delay)
        except (CancelledError, ConnectingCancelledError):
            self.log.debug("the embedded Redis is no longer kept")

    async def _replace(self, delay: float) -> tuple[Server, float]:
        """Start a server, however often it takes; return it and the delay before the next."""
        while True:
            await deferLater(self._reactor, delay)
            delay = min(2 * delay, LONGEST_DELAY)
            try:
                self._server = await self._obtain()
            except StartupError as why:
                self.log.warn("{why}; next try in {s:.1f} s", why=why, s=delay)
            else:
                self.log.info("the embedded Redis serves again, process {pid}", pid=self.pid)
                return self._server, delay

    async def _obtain(self) -> Server:
        """Start a server if the files are free, else adopt the one that has them."""
        deadline = self._reactor.seconds() + self._patience
        while self._reactor.seconds() < deadline:
            lock = place.take_lock(self._data_dir)
            if lock is not None:
                return await self._spawn(lock, deadline)
            if (adopted := await self._adopt()) is not None:
                return adopted
            await deferLater(self._reactor, LOOK_AGAIN)
        raise StartupError(
            f"the files in {self._data_dir} are in use by a server that does not answer: end it"
        )

    async def _spawn(self, lock: int, deadline: float) -> Child:
        try:
            program = place.find_program(self._data_dir)
            child = spawn(self._reactor, program, self._data_dir, self._socket, lock)
        finally:
            os.close(lock)
        self.log.info("started {program} as process {pid}", program=program, pid=child.pid)
        try:
            await self._until_it_serves(child, deadline)
        except BaseException:
            child.kill()
            await child.ended.wait()
            raise
        return child

    async def _until_it_serves(self, child: Child, deadline: float) -> None:
        while not child.ended.over:
            if self._reactor.seconds() >= deadline:
                raise StartupError(f"the embedded Redis did not serve within {self._patience:.0f} s")
            probe = await connect(self._reactor, self._socket)
            if probe is not None:
                serves = await probe.serves(self._reactor)
                probe.close()
                if serves:
                    return
            await deferLater(self._reactor, LOOK_AGAIN)
        last = child.last_lines[-1] if child.last_lines else "it said nothing"
        raise StartupError(f"the embedded Redis in {self._data_dir} ended at once: {last}")

    async def _adopt(self) -> Adopted | None:
        """Take over the server at our socket, if it serves."""
        probe = await connect(self._reactor, self._socket)
        if probe is None:
            return None
        if not await probe.serves(self._reactor):
            probe.close()
            return None
        adopted = Adopted(probe, await probe.pid(self._reactor))
        self.log.info("the Redis server of process {pid} has the files and is used", pid=adopted.pid)
        return adopted
