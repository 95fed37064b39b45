"""Every error of the broker, in one tree; each knows the text that may be shown to the other side.

Two branches matter to whoever catches one: :class:`PeerError` is the other side's mistake (answer it,
perhaps close the connection, never log a traceback), :class:`BrokerError` otherwise is ours or an outside
server's (log it, keep what is stored, try again).
"""

from __future__ import annotations


class BrokerError(Exception):
    """Base of every error raised on purpose; ``str()`` of it is fit to be shown and holds no secret."""


class ConfigError(BrokerError):
    """The configuration cannot be used.

    :param problems: one line an error, each naming the file and the key.
    """

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class PeerError(BrokerError):
    """The other side sent something it must not; its text says what and what to do instead."""


class StoreUnavailable(BrokerError):
    """Redis cannot be reached or did not answer; what was asked may have happened or not."""
