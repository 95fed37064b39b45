"""The references are complete: configuration keys with their defaults, metrics with their labels."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import FieldInfo, fields
from prometheus_client import CollectorRegistry, Metric
from prometheus_client.metrics import MetricWrapperBase
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource

from crowdai_broker.config import Secret
from crowdai_broker.config.declaration import (
    BrokerConfig,
    ChallengeConfig,
    GitLabConfig,
    GraderConfig,
    LimitsConfig,
    RedisConfig,
    WebappConfig,
)
from crowdai_broker.web.broker_metrics import BrokerMetrics
from crowdai_broker.web.metrics import MeteredSite

from .documents import ROOT, first_literals, literals, rows, section

README = ROOT / "README.rst"
OPERATORS = ROOT / "docs/operators.rst"
TABLES: tuple[type[msgspec.Struct], ...] = (
    BrokerConfig,
    LimitsConfig,
    RedisConfig,
    WebappConfig,
    GitLabConfig,
    ChallengeConfig,
    GraderConfig,
)


class ConfigurationTests(SynchronousTestCase):
    """The README's reference of ``broker.toml``, whose tables stand in the order of the declarations."""

    def setUp(self) -> None:
        """Read the tables."""
        self.reference = section(README, "Configuration reference")
        self.tables = [list(body) for body in self.reference.findall() if body.tagname == "tbody"]

    def test_keys(self) -> None:
        """Every key is there, in its table, and no other."""
        self.assertEqual(len(self.tables), len(TABLES))
        for kind, body in zip(TABLES, self.tables, strict=True):
            shown = [literals(row[0])[0] for row in body]
            declared = [field.name for field in fields(kind) if field.name != "grader"]
            self.assertEqual(sorted(shown), sorted(declared), kind.__name__)

    def test_defaults(self) -> None:
        """Every default is the one that holds."""
        for kind, body in zip(TABLES, self.tables, strict=True):
            declared = {field.name: field for field in fields(kind)}
            for row in body:
                name = literals(row[0])[0]
                self.assertEqual(_shown(row[2]), _default(declared[name]), f"{kind.__name__}.{name}")


def _shown(cell: Any) -> object:
    text = " ".join(cell.astext().split())
    return (
        {"none": None, "needed": msgspec.NODEFAULT}.get(text, text)
        if text in {"none", "needed"}
        else _toml(text)
    )


def _toml(text: str) -> object:
    return tomllib.loads(f"x = {text}")["x"]


def _default(field: FieldInfo) -> object:
    """Return a default as the file would say it."""
    value = field.default
    if isinstance(value, Secret):
        value = value.reveal() or (None if "url" not in field.name else "")
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, Path):
        return str(value)
    return "" if value is None and field.name == "ca_file" else value


class MetricsTests(SynchronousTestCase):
    """The operators' table of metrics."""

    def test_names(self) -> None:
        """Every metric of ours is there, and no other."""
        registry = CollectorRegistry()
        BrokerMetrics(registry)
        MeteredSite(Resource(), Clock(), registry)
        shown = first_literals(section(OPERATORS, "Metrics"))
        self.assertEqual(sorted(shown), sorted(_name(each) for each in registry.collect()))

    def test_labels(self) -> None:
        """Every metric's labels are there."""
        registry = CollectorRegistry()
        collectors = [
            *vars(BrokerMetrics(registry)).values(),
            *vars(MeteredSite(Resource(), Clock(), registry)).values(),
        ]
        labels = {
            names[-1]: set(collector._labelnames)
            for collector in collectors
            if isinstance(collector, MetricWrapperBase)
            and (names := [_name(each) for each in collector.describe()])
        }
        for row in rows(section(OPERATORS, "Metrics")):
            name = literals(row[0])[0]
            self.assertEqual(set(literals(row[1])), labels[name], name)


def _name(metric: Metric) -> str:
    return f"{metric.name}_total" if metric.type == "counter" else metric.name


class ReasonTests(SynchronousTestCase):
    """The table of reasons for which graders' events are dropped."""

    def test_reasons(self) -> None:
        """Every reason that the code gives is there, and no other."""
        given: set[str] = set()
        for name in ("grader_events.py", "relay.py"):
            text = (ROOT / "crowdai_broker/core" / name).read_text(encoding="utf-8")
            given.update(re.findall(r'(?:Unusable|_drop)\("(\w+)"\)', text))
        shown = first_literals(section(ROOT / "docs/graders-redis.rst", "What the broker forgives"))
        self.assertEqual(sorted(shown), sorted(given))
