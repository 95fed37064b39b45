"""The broker as a process of twistd's: its beginning, its end, and the status it ends with.

twistd knows only two ends: a service that raises in ``startService`` before the reactor runs, and status 0.
What can go wrong here goes wrong later, when Redis or a port is asked for; and a process that was told by
SIGTERM to stop, and did, has ended well. So both are said here: 0 after an orderly stop, 1 after a start
that failed.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from twisted.application.service import IServiceCollection, Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import ILogObserver, Logger
from twisted.python.components import Componentized

from .errors import BrokerError
from .services import Lifecycle

FAILED = 1


class BrokerService(Service):
    """Runs a :class:`~crowdai_broker.services.Lifecycle` under twistd.

    :param reactor: runs it, and is stopped if the start fails.
    :param take_signals: whether SIGTERM and SIGINT are ours; only in a process of our own.
    :param end_with: called with the exit status of a start that failed.
    :param observer: where the application logs, instead of where twistd would; ``None``: there.
    """

    log = Logger()
    name = "crowdai-broker"

    def __init__(
        self,
        reactor: Any,
        lifecycle: Lifecycle,
        *,
        take_signals: bool = True,
        end_with: Callable[[int], None] | None = None,
        observer: ILogObserver | None = None,
    ) -> None:
        self.observer = observer
        self._reactor = reactor
        self._lifecycle = lifecycle
        self.take_signals = take_signals
        self._end_with = end_with or end_process_with
        self._starting: Deferred[None] | None = None
        self._told_to_stop = False

    def setServiceParent(self, parent: IServiceCollection) -> None:
        """Join an application; twistd asks the application, and nobody else, where to log."""
        super().setServiceParent(parent)  # type: ignore[no-untyped-call]
        if self.observer is not None and isinstance(parent, Componentized):
            parent.setComponent(ILogObserver, self.observer)  # type: ignore[no-untyped-call]

    def startService(self) -> None:
        """Start the stages as soon as the reactor runs."""
        super().startService()  # type: ignore[no-untyped-call]
        self._reactor.callWhenRunning(self._begin)

    def stopService(self) -> Deferred[None]:
        """Stop the stages, whether or not all have started; fires when they have stopped."""
        super().stopService()  # type: ignore[no-untyped-call]
        starting, self._starting = self._starting, None
        if starting is not None:
            starting.cancel()
        return Deferred.fromCoroutine(self._lifecycle.stop())

    def _begin(self) -> None:
        if not self.running:
            return
        if self.take_signals:
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, self.signalled)
        self._starting = Deferred.fromCoroutine(self._start())

    async def _start(self) -> None:
        try:
            await self._lifecycle.start()
        except CancelledError:
            self.log.info("stopped while it started")
        except BrokerError as why:
            self.log.critical("cannot start: {why}", why=why)
            self._fail()
        except Exception:  # noqa: BLE001 - the process must end, and say why
            self.log.failure("cannot start, because of a mistake in the broker")
            self._fail()
        else:
            self.log.info("the broker serves")

    def _fail(self) -> None:
        self._end_with(FAILED)
        if self.running:
            self._reactor.stop()

    def signalled(self, number: int, frame: object) -> None:
        """Handle a signal, in the middle of anything: the reactor takes it from here."""
        self._reactor.callFromThread(self._stop_or_hurry, signal.Signals(number).name)

    def _stop_or_hurry(self, name: str) -> None:
        """Stop at the first signal; at a second do not wait for work in hand."""
        if self._told_to_stop or not self.running:
            self.log.info("{name} again: not waiting any longer", name=name)
            self._lifecycle.hurry()
            return
        self._told_to_stop = True
        self.log.info("{name}: stopping", name=name)
        self._reactor.stop()


def end_process_with(status: int) -> None:
    """Make this process end with ``status`` once it ends by itself: twistd alone would end with 0.

    What else is to be done at the end is done before.
    """
    atexit.register(_leave, status)


def _leave(status: int) -> None:
    atexit.unregister(_leave)
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
