"""Grades several jobs at a time until told to stop; then what is in hand is finished."""

from __future__ import annotations

import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any, Protocol

from .process import TERMINAL, JobProcess, Said


class Orders(Protocol):
    """Where orders come from. All but :meth:`listen` and :meth:`close` are called from several threads.

    An order that nobody waits for any more before it was begun has a member ``cancelled``.
    """

    problem: str

    def listen(self, cancel: Callable[[dict[str, Any]], None], end: Callable[[], None]) -> None:
        """Begin.

        From any thread, call ``cancel`` with an order that nobody waits for any more, and ``end`` if no
        orders will come and none in hand is wanted, after :attr:`problem` says why.
        """

    def take(self) -> dict[str, Any] | None:
        """Return the next order, or ``None`` after a short wait; what is here after the end, at once."""

    def take_no_more(self) -> None:
        """Get no orders any more but those that are here already."""

    def say(self, order: dict[str, Any], said: Said) -> None:
        """Send an event of an order."""

    def give_back(self, order: dict[str, Any]) -> None:
        """Let somebody else grade an order that was taken."""

    def give_up(self) -> None:
        """Wait for nothing any more."""

    def close(self) -> None:
        """End."""


class Slots:
    """Runs ``count`` jobs at once.

    :param make_process: returns what runs one job.
    """

    def __init__(self, orders: Orders, count: int, make_process: Callable[[], JobProcess]) -> None:
        self._orders = orders
        self._make_process = make_process
        self._stopping = threading.Event()
        self._given_up = False
        self._running: dict[int, JobProcess] = {}  # by the identity of the order
        self._threads = [threading.Thread(target=self._grade, name=f"slot {n}") for n in range(count)]

    def run(self) -> None:
        """Grade until SIGTERM or SIGINT; a second one gives back the jobs in hand."""
        self._on_signals(self._stop)
        self._orders.listen(self.cancel, self.give_up)
        for thread in self._threads:
            thread.start()
        for thread in self._threads:
            thread.join()
        self._orders.close()
        self._on_signals(signal.SIG_IGN)  # one more now would only change the exit status

    @staticmethod
    def _on_signals(action: Callable[[int, object], None] | signal.Handlers) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, action)

    def stop(self) -> None:
        """Take no more orders; called again, give back those in hand."""
        if self._stopping.is_set():
            self.give_up()
        else:
            self._orders.take_no_more()
            self._stopping.set()

    def give_up(self) -> None:
        """Take no more orders, and give back those in hand."""
        self._given_up = True
        self._stopping.set()
        self._orders.give_up()
        for process in tuple(self._running.values()):
            process.give_up()

    def cancel(self, order: dict[str, Any]) -> None:
        """End the job of an order if it runs."""
        process = self._running.get(id(order))
        if process is not None:
            process.give_up()

    def _stop(self, number: int, frame: object) -> None:
        self.stop()

    def _grade(self) -> None:
        while True:
            ending = self._stopping.is_set()
            order = self._orders.take()
            if order is not None:
                self._grade_one(order)
            elif ending:
                return

    def _grade_one(self, order: dict[str, Any]) -> None:
        process = self._running[id(order)] = self._make_process()
        if self._given_up or "cancelled" in order:
            process.give_up()
        began, last = time.monotonic(), ""
        try:
            for said in process.run(order):
                self._orders.say(order, said)
                last = said.kind
        except Exception:  # noqa: BLE001 - whatever it is, the slot goes on and the participant is told
            traceback.print_exc()
            last = "ERROR"
            self._orders.say(order, Said(last, {}, "The grader could not run the evaluation."))
        finally:
            del self._running[id(order)]
        if last not in TERMINAL:
            last = self._given_back(order)
        what = f"job {order['data_sequence_no']}: {last} after {time.monotonic() - began:.1f} s"
        sys.stderr.write(f"{what}\n")

    def _given_back(self, order: dict[str, Any]) -> str:
        if not self._given_up:
            return "cancelled"
        self._orders.give_back(order)
        return "given back"


def try_on(process: JobProcess, payload: Any, show: Callable[[Said], None]) -> bool:
    """Run one job without any broker; tell whether it had a result."""
    last = ""
    for said in process.run({"data": payload, "data_sequence_no": 0, "extra_params": {}, "dry_run": True}):
        show(said)
        last = said.kind
    return last == "COMPLETE"
