"""Filling in the metrics that nobody counts as they happen: the state of this process, and of the whole server."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path

import structlog
from django.db import Error, connection
from prometheus_client import REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from licensing.core import metrics
from licensing.core.postgresql.patience import outage
from licensing.core.valkey import valkey
from licensing.services.seen import Flusher
from licensing.services.state import process_snapshots
from licensing.snapshots.boot_clock import boot_seconds
from licensing.snapshots.protocol import Counters

log = structlog.get_logger(__name__)

SAMPLE_SECONDS = 1.0
# What a heartbeat's age is told as while there has been none: not infinite, which alarms cannot compare.
NO_HEARTBEAT_SECONDS = 1e9

_STATE_SQL = """
SELECT (SELECT count(*) FROM outbox_event WHERE dispatched_at IS NULL AND failed_at IS NULL),
       (SELECT count(*) FROM outbox_event WHERE failed_at IS NOT NULL),
       (SELECT extract(epoch FROM min(created_at))::float8 FROM outbox_event
         WHERE dispatched_at IS NULL AND failed_at IS NULL),
       (SELECT extract(epoch FROM expires_at)::float8 FROM signed_key_set ORDER BY version DESC LIMIT 1)
"""
_CERTIFICATES_SQL = """
SELECT purpose, extract(epoch FROM not_after)::float8 FROM certificate WHERE retired_at IS NULL
"""


class Sampler:
    """Copies what this process keeps as plain numbers into its metrics."""

    def __init__(self) -> None:
        self._seen = Counters()
        self._failures = 0

    def sample(self) -> None:
        """Bring the metrics up to this moment; called by one thread."""
        metrics.valkey_away.set(1 if valkey().is_away else 0)
        failures = outage.failures
        metrics.database_failures.inc(failures - self._failures)
        self._failures = failures
        snapshots = process_snapshots()
        if snapshots is None:
            return
        entries, size = snapshots.cache.size()
        metrics.snapshot_entries.set(entries)
        metrics.snapshot_bytes.set(size)
        metrics.heartbeat_age.set(min(NO_HEARTBEAT_SECONDS, snapshots.cache.heartbeat_age(boot_seconds())))
        metrics.listeners_lost.set(0 if snapshots.listener.is_connected else 1)
        self._count(snapshots.cache.counters())

    def _count(self, counters: Counters) -> None:
        for each in fields(Counters):
            grown = getattr(counters, each.name) - getattr(self._seen, each.name)
            if grown > 0:
                metrics.snapshots.labels(each.name).inc(grown)
        self._seen = counters


sampler = Flusher([Sampler().sample], interval_seconds=SAMPLE_SECONDS)


class ServerState(Collector):
    """What the database alone knows, asked when somebody reads the metrics; left out while it does not answer."""

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Ask, and yield the metrics."""
        try:
            with connection.cursor() as cursor:
                cursor.execute(_STATE_SQL)
                waiting, failed, oldest, key_set_until = cursor.fetchone()
                cursor.execute(_CERTIFICATES_SQL)
                certificates = cursor.fetchall()
        except Error as exc:
            log.warning("metrics.database_away", error_type=type(exc).__name__)
            return
        age = 0.0 if oldest is None else max(0.0, datetime.now(UTC).timestamp() - oldest)
        yield GaugeMetricFamily("keywright_outbox_waiting", "Domain events that wait for subscribers.", waiting)
        yield GaugeMetricFamily("keywright_outbox_failed", "Domain events whose subscribers gave up.", failed)
        yield GaugeMetricFamily("keywright_outbox_oldest_seconds", "Age of the oldest that waits.", age)
        if key_set_until is not None:
            yield GaugeMetricFamily(
                "keywright_key_set_expires_timestamp_seconds", "When the signed key set runs out.", key_set_until
            )
        expiry = GaugeMetricFamily(
            "keywright_certificate_expires_timestamp_seconds", "When a certificate runs out.", labels=["purpose"]
        )
        for purpose, until in certificates:
            expiry.add_metric([purpose], until)
        yield expiry


def render_metrics() -> bytes:
    """All metrics of all processes, in Prometheus' text format."""
    registry = _of_processes()
    registry.register(ServerState())
    return generate_latest(registry)


def counted() -> dict[str, list[tuple[dict[str, str], float]]]:
    """What all processes of this machine count: by the name of a sample, its labels and values."""
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    for metric in _of_processes().collect():
        for sample in metric.samples:
            found.setdefault(sample.name, []).append((sample.labels, float(sample.value)))
    return found


def _of_processes() -> CollectorRegistry:
    """The metrics that all processes of this machine keep; of this one, where it is alone."""
    folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    registry = CollectorRegistry()
    if folder:
        forget_ended_processes(Path(folder))
        MultiProcessCollector(registry, folder)  # type: ignore[no-untyped-call]
    else:
        registry.register(_ThisProcess())
    return registry


class _ThisProcess(Collector):
    """The metrics of this process, where it is alone."""

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Yield them."""
        return REGISTRY.collect()  # type: ignore[return-value]


def forget_ended_processes(folder: Path) -> None:
    """Remove the gauges of processes that have ended: what they said of themselves holds no more.

    Their counters stay, since sums must not fall.
    """
    for path in folder.glob("gauge_live*_*.db"):
        pid = path.stem.rpartition("_")[2]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists():
            path.unlink(missing_ok=True)
