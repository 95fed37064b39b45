"""``twistd crowdai-broker``: its options, and the service that they make."""

from __future__ import annotations

import os
import sys
from typing import IO

from twisted.application.service import IService
from twisted.logger import ILogObserver, globalLogPublisher
from twisted.python import usage

from .assembly import Assembly
from .config import Config, load_config
from .errors import ConfigError, StartupError
from .logs import json_lines, open_log, readable_lines
from .process import BrokerService
from .services import Lifecycle


class Options(usage.Options):
    """What may stand behind ``twistd crowdai-broker``; the configuration is read and checked at once."""

    synopsis = "--config FILE [--log-json FILE]"
    longdesc = (
        "Runs the broker between challenge participants, graders, the webapp and GitLab. "
        "FILE is documented in broker.example.toml; every error in it is reported, with its key, before "
        "anything listens. Under `twistd -n' the log goes to stderr, otherwise where twistd's --logfile or "
        "--syslog say. SIGTERM: finish what is in hand, keep the rest in Redis, end with status 0; a second "
        "SIGTERM: do not wait for what is in hand."
    )
    optParameters = [  # noqa: RUF012 - Twisted's own way
        ["config", "c", None, "The broker's configuration, a TOML file. Needed."],
        [
            "log-json",
            None,
            None,
            "Write the log to this file too (- is stdout), one JSON object a line. It may be moved away.",
        ],
    ]
    compData = usage.Completions(
        optActions={
            "config": usage.CompleteFiles("*.toml", descr="configuration"),
            "log-json": usage.CompleteFiles(descr="log"),
        }
    )
    config: Config
    json_log: IO[str] | None = None

    def postOptions(self) -> None:
        """Read the configuration; an error in it ends the process with a line for each."""
        if not self["config"]:
            raise usage.UsageError("--config FILE is missing; broker.example.toml shows what belongs in it")
        try:
            self.config = load_config(self["config"], os.environ)
            if self["log-json"]:
                self.json_log = open_log(self["log-json"])
        except (ConfigError, StartupError) as why:
            raise SystemExit(str(why)) from None


def makeService(options: Options) -> IService:
    """Put the broker together for twistd."""
    from twisted.internet import reactor  # here, since twistd has chosen one by now

    if options.json_log is not None:
        globalLogPublisher.addObserver(json_lines(options.json_log))
    lifecycle = Lifecycle(reactor, Assembly(options.config, reactor).stages())
    return BrokerService(reactor, lifecycle, observer=_readable_log(options))


def _readable_log(options: Options) -> ILogObserver | None:
    """Return an observer for stderr if twistd stays in the foreground and was not told where to log."""
    twistd: dict[str, object] = options.parent or {}
    told = twistd.get("logfile") or twistd.get("logger") or twistd.get("syslog")
    return readable_lines(sys.stderr) if twistd.get("nodaemon") and not told else None
