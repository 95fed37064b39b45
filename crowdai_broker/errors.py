"""Every error of the broker, in one tree; each knows the text that may be shown to the other side.

Two branches matter to whoever catches one: :class:`PeerError` is the other side's mistake (answer it,
perhaps close the connection, never log a traceback), :class:`BrokerError` otherwise is ours or an outside
server's (log it, keep what is stored, try again).
"""

from __future__ import annotations

from datetime import datetime


class BrokerError(Exception):
    """Base of every error raised on purpose; ``str()`` of it is fit to be shown and holds no secret."""


class ConfigError(BrokerError):
    """The configuration cannot be used.

    :param problems: one line an error, each naming the file and the key.
    """

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class StartupError(BrokerError):
    """The broker cannot start; its text, one line, says what is missing and what to do."""


class PeerError(BrokerError):
    """The other side sent something it must not; its text says what and what to do instead."""


class NotNow(PeerError):
    """What the other side asked may be right, and can be asked again later."""


class TooMuch(PeerError):
    """The other side asked for more than is done at a time."""


class StoreUnavailable(BrokerError):
    """Redis cannot be reached or did not answer; what was asked may have happened or not."""


class GraderRefused(BrokerError):
    """A grader will not grade a job; its text is for the participant."""


class GraderUnreachable(BrokerError):
    """A grader did not take an order; it may have got it or not."""


class GraderBusy(GraderUnreachable):
    """An order was not handed out because others are on their way to the same grader at this moment."""


class GradingError(BrokerError):
    """A grader cannot do what it was told, or an evaluator what it should; the text says why."""


class OperatorError(BrokerError):
    """What an operator asked for cannot be done; its text says why."""


class WebappError(BrokerError):
    """A call to the webapp had no good end; no text of this branch holds a key."""


class WebappRefused(WebappError):
    """The webapp said no (400); its message is the participant's answer.

    :param message: the webapp's own words.
    :param submissions_remaining: how many more submissions the participant may make now, where known.
    :param reset_dttm: when the next slot opens, where known.
    """

    def __init__(
        self, message: str, submissions_remaining: int | None = None, reset_dttm: datetime | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.submissions_remaining = submissions_remaining
        self.reset_dttm = reset_dttm


class WebappDenied(WebappError):
    """The webapp does not accept the key of this call (401); nothing was done."""


class WebappUnavailable(WebappError):
    """The call has no answer that can be used.

    :param definitely_not_done: true only if the webapp cannot have acted on it (never connected, or
        turned away before any work), so that even a POST may be repeated; false: it may have happened.
    :param retry_after: seconds the webapp asked to be left alone, where it did.
    :param still_at_work: nothing was heard in time: the webapp may do it yet.
    """

    def __init__(
        self,
        reason: str,
        *,
        definitely_not_done: bool,
        retry_after: float | None = None,
        still_at_work: bool = False,
    ) -> None:
        super().__init__(reason)
        self.definitely_not_done = definitely_not_done
        self.retry_after = retry_after
        self.still_at_work = still_at_work
