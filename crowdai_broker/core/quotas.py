"""How often something may happen a minute, by whom."""

from __future__ import annotations

from collections import OrderedDict

from twisted.internet.interfaces import IReactorTime

MAX_KEYS = 100_000  # whoever was heard of longest ago is forgotten first


class PerMinute:
    """Counts in windows of a minute that begin with a key's first use.

    :param limit: uses a minute and key; 0: any number.
    """

    def __init__(self, clock: IReactorTime, limit: int) -> None:
        self._clock = clock
        self._limit = limit
        self._windows: OrderedDict[str, list[float]] = OrderedDict()

    def use(self, key: str) -> bool:
        """Count one use; false, and nothing counted, if the limit was reached."""
        if not self._limit:
            return True
        if not self.allows(key):
            return False
        window = self._windows.setdefault(key, [self._clock.seconds() + 60, 0])
        window[1] += 1
        while len(self._windows) > MAX_KEYS:
            self._windows.popitem(last=False)
        return True

    def allows(self, key: str) -> bool:
        """Tell whether one more use would be within the limit."""
        window = self._windows.get(key)
        if window is not None and window[0] <= self._clock.seconds():
            del self._windows[key]
            window = None
        return not self._limit or window is None or window[1] < self._limit

    def wait(self, key: str) -> int:
        """Return in how many seconds the key's window ends, at least 1."""
        window = self._windows.get(key)
        return 1 if window is None else max(1, round(window[0] - self._clock.seconds()))
