"""The operator's live page: the server's own health beside what goes on."""

from __future__ import annotations

import pytest

from licensing.core import metrics
from licensing.portal import operator_health
from tests.portal_cast import PortalCast


def test_the_queue_and_health_stand_on_the_live_page(cast: PortalCast) -> None:
    page = cast.client(cast.operator).get("/operator")
    (tile,) = [tile for tile in page.context["tiles"] if tile.url == "/operator/builds"]
    assert (tile.value, tile.note_value) == (2, 1)
    shown = page.content.decode()
    for words in ("Health of this machine", "Rate limits", "Answers to plugins", "Builds waiting"):
        assert words in shown
    part = cast.client(cast.operator).get("/operator", headers={"HX-Request": "true"}).content.decode()
    assert "Rate limits" in part
    assert "<html" not in part


def test_answers_and_limits_are_counted_by_kind() -> None:
    before = operator_health.health()
    metrics.observe_request("/api/plugins/validate", "VALID", 0.01)
    metrics.observe_request("/api/plugins/authenticate", "TIER_TOO_LOW", 0.01)
    metrics.observe_request("/api/manage/plugins/", "200", 0.01)  # nobody's plugin
    metrics.limiter.labels("refused").inc()
    after = operator_health.health()
    assert _grown(before["limiter"], after["limiter"]) == {"refused": 1}
    grown = _grown(before["answers"], after["answers"])
    assert grown.get("TIER_TOO_LOW", 0) <= 1
    assert "200" not in grown


def test_a_late_heartbeat_shows(cast: PortalCast, monkeypatch: pytest.MonkeyPatch, settings: object) -> None:
    settings.SNAPSHOT_CACHE_ENTRIES = 10  # type: ignore[attr-defined]
    samples = {"keywright_heartbeat_age_seconds": [({}, 7.0)], "keywright_listeners_disconnected": [({}, 2.0)]}
    monkeypatch.setattr(operator_health, "counted", lambda: samples)
    health = operator_health.health()
    assert health["is_heartbeat_late"]
    shown = cast.client(cast.operator).get("/operator").content.decode()
    assert "decisions read the database" in shown
    assert "lost" in shown


def test_a_process_that_was_not_asked_yet_raises_no_alarm(
    cast: PortalCast, monkeypatch: pytest.MonkeyPatch, settings: object
) -> None:
    settings.SNAPSHOT_CACHE_ENTRIES = 10  # type: ignore[attr-defined]
    samples = {"keywright_heartbeat_age_seconds": [({}, 1e9)], "keywright_listeners_disconnected": [({}, 1.0)]}
    monkeypatch.setattr(operator_health, "counted", lambda: samples)
    shown = cast.client(cast.operator).get("/operator").content.decode()
    assert "decided nothing yet" in shown
    assert "1 not connected yet" in shown
    assert "decisions read the database" not in shown


def test_a_process_that_caches_in_time_says_so(cast: PortalCast, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = {"keywright_heartbeat_age_seconds": [({}, 0.2)], "keywright_snapshot_entries": [({}, 1234.0)]}
    monkeypatch.setattr(operator_health, "counted", lambda: samples)
    health = operator_health.health()
    assert not health["is_heartbeat_late"]
    assert health["snapshots"] == 1234


def _grown(before: list[tuple[str, int]], after: list[tuple[str, int]]) -> dict[str, int]:
    known = dict(before)
    return {name: count - known.get(name, 0) for name, count in after if count > known.get(name, 0)}
