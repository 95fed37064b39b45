"""What the broker counts, under Prometheus' naming conventions.

It implements the observers of the Socket.IO server, the core and the webapp's client, so none of them knows
of Prometheus. No label holds anything that a peer chose.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge

_PREFIX = "crowdai_broker"


class BrokerMetrics:
    """Counts what it is told."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"{_PREFIX}_{name}", text, labels, registry=registry)

        self._open = Gauge(f"{_PREFIX}_connections_open", "Connections open now.", registry=registry)
        self._connections = counter("connections", "Connections that began.", "transport", "protocol")
        self._upgrades = counter("upgrades", "Connections that went from polling to WebSocket.", "protocol")
        self._disconnections = counter("disconnections", "Connections that ended.", "transport", "reason")
        self._refused = counter("handshakes_refused", "Requests refused with an error status.", "reason")
        self._protocol_errors = counter("protocol_errors", "Peers that broke the protocol.", "error")
        self._messages = counter("messages", "Messages of participants' connections.", "direction")
        self._failed_handlers = counter("handler_failures", "Handlers that raised.")
        self._relayed = counter("grader_events", "Graders' events that were applied.", "kind")
        self._dropped = counter("grader_events_dropped", "Graders' events that were dropped.", "reason")
        self._effects = counter("effects", "Tries of outside effects.", "kind", "outcome")
        self._webapp = counter("webapp_calls", "Calls to the webapp.", "call", "outcome")
        self._stored = Gauge(
            f"{_PREFIX}_stored", "What is stored and not finished, by kind.", ["kind"], registry=registry
        )
        self._graders = Gauge(f"{_PREFIX}_graders_connected", "Graders connected here.", registry=registry)
        self._slots = Gauge(
            f"{_PREFIX}_grader_slots", "Slots of the graders connected here.", ["state"], registry=registry
        )
        self._backlog = Gauge(
            f"{_PREFIX}_backlog_jobs", "Jobs that wait in the broker, all challenges.", registry=registry
        )

    def connected(self, transport: str, version: int) -> None:
        """Count a connection's begin."""
        self._open.inc()
        self._connections.labels(transport, f"eio{version}").inc()

    def upgraded(self, version: int) -> None:
        """Count an upgrade to WebSocket."""
        self._upgrades.labels(f"eio{version}").inc()

    def disconnected(self, transport: str, version: int, reason: str) -> None:
        """Count a connection's end."""
        self._open.dec()
        self._disconnections.labels(transport, reason.replace(" ", "_")).inc()

    def refused(self, why: str) -> None:
        """Count a request refused."""
        self._refused.labels(why).inc()

    def protocol_error(self, why: str) -> None:
        """Count a peer's mistake."""
        self._protocol_errors.labels(why).inc()

    def packets_in(self, count: int) -> None:
        """Count messages that came."""
        self._messages.labels("in").inc(count)

    def packets_out(self, count: int) -> None:
        """Count messages that went."""
        self._messages.labels("out").inc(count)

    def handler_failed(self) -> None:
        """Count a handler that raised."""
        self._failed_handlers.inc()

    def event_relayed(self, kind: str) -> None:
        """Count a grader's event."""
        self._relayed.labels(kind).inc()

    def event_dropped(self, why: str) -> None:
        """Count a grader's event that meant nothing."""
        self._dropped.labels(why).inc()

    def effect_tried(self, kind: str, outcome: str) -> None:
        """Count a try of an outside effect."""
        self._effects.labels(kind, outcome).inc()

    def webapp_called(self, call: str, outcome: str) -> None:
        """Count a call to the webapp."""
        self._webapp.labels(call, outcome).inc()

    def stored(self, counts: dict[str, int], backlog: int) -> None:
        """Note what is stored and not finished, by kind, and how many jobs wait."""
        for kind, count in counts.items():
            self._stored.labels(kind).set(count)
        self._backlog.set(backlog)

    def graders(self, connected: int, slots: int, busy: int) -> None:
        """Note how many graders are connected here, and how many of their slots have a job."""
        self._graders.set(connected)
        self._slots.labels("busy").set(busy)
        self._slots.labels("free").set(max(0, slots - busy))
