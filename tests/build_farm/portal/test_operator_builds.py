"""The operator's pages about builds: the queue and its workers, logs, cancelling, and mass rebuilds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client

from build_farm.models import Build
from build_farm.portal import operator_reads
from licensing.core import workers
from licensing.core.models import AuditEvent
from licensing.core.valkey import valkey
from tests.farm_cast import BATCH, WORKER
from tests.portal_cast import PortalCast

REBUILD = "/operator/plugins/api-logger/releases/2.1.0/rebuild"
HTMX = {"HX-Request": "true"}


@pytest.fixture
def client(cast: PortalCast) -> Client:
    """An operator's browser; they are no superuser."""
    return cast.client(cast.operator)


def running() -> Build:
    return Build.objects.get(state="building")


def say(role: str, name: str, *, seconds_ago: float = -300) -> None:
    """A worker says that it is there, or did; a clock that is ahead keeps it there however slow this machine is."""
    at = datetime.now(UTC).timestamp() - seconds_ago
    valkey().run(lambda redis: redis.zadd("workers", {f"{role} {name}": at}))


# -- the farm


def test_the_queue_is_counted_by_state(client: Client) -> None:
    page = client.get("/operator/builds")
    counted = {name: page.context[name] for name in ("queued", "mass_waiting", "building", "signing", "failed_lately")}
    assert counted == {"queued": 2, "mass_waiting": 1, "building": 1, "signing": 0, "failed_lately": 2}
    assert page.context["oldest"] == Build.objects.get(batch=BATCH, state="queued").created_at


def test_scripts_get_the_part_that_changes(client: Client) -> None:
    part = client.get("/operator/builds", headers=HTMX).content.decode()
    assert "At work" in part
    assert "<html" not in part


def test_who_is_at_what_is_shown_with_the_age_of_the_heartbeat(client: Client) -> None:
    heard = datetime.now(UTC) - timedelta(seconds=21)
    Build.objects.filter(pk=running().pk).update(heartbeat_at=heard)
    (line,) = client.get("/operator/builds").context["running"]
    assert (line.build.pk, line.worker) == (running().pk, WORKER)
    assert line.silent_seconds >= 21
    assert not line.is_late or line.silent_seconds > 30


def test_a_silent_worker_is_late(client: Client) -> None:
    Build.objects.filter(pk=running().pk).update(heartbeat_at=datetime.now(UTC) - timedelta(minutes=3))
    page = client.get("/operator/builds")
    (line,) = page.context["running"]
    assert line.is_late
    (worker,) = page.context["workers"]
    assert worker.is_late
    assert "no build worker is there" in page.content.decode()


def test_workers_are_shown_with_what_they_are_at(client: Client) -> None:
    say("build", WORKER)
    say("sign", "signer-1:7")
    say("control", "web-1:9", seconds_ago=600)
    lines = {line.name: line for line in client.get("/operator/builds").context["workers"]}
    assert [each.build.pk for each in lines[WORKER].running] == [running().pk]
    assert lines["signer-1:7"].running == []
    assert {name: line.is_late for name, line in lines.items()} == {
        WORKER: False,
        "signer-1:7": False,
        "web-1:9": True,
    }


def test_a_worker_with_the_name_of_another_kind_is_somebody_else(client: Client) -> None:
    say("sign", WORKER)
    lines = {(line.role, line.name): line for line in client.get("/operator/builds").context["workers"]}
    assert lines["sign", WORKER].running == []
    assert len(lines["build", WORKER].running) == 1


def test_markup_in_a_workers_name_stays_text(client: Client) -> None:
    say("build", "<script>alert(1)</script>:1")
    assert "<script>alert" not in client.get("/operator/builds").content.decode()


def test_without_valkey_the_page_says_that_nobody_knows(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*, now: datetime) -> Any:
        raise operator_reads.ValkeyAway

    monkeypatch.setattr(operator_reads, "workers_seen", away)
    page = client.get("/operator/builds")
    assert page.status_code == 200
    assert "nobody knows which workers are there" in page.content.decode()


def test_what_failed_last_is_shown_with_why(client: Client) -> None:
    page = client.get("/operator/builds")
    assert {row.failure for row in page.context["failures"]} == {
        "The compiler ended with exit code 1.",
        "Given up after 5 attempts: its worker ended or went silent.",
    }
    assert "The compiler ended with exit code 1." in page.content.decode()


# -- builds


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("state=failed", 2),
        (f"batch={BATCH}", 2),
        ("customer=acme_1&plugin=api-logger&target=linux/arm64", 1),
        ("customer=globex_1", 0),
        ("state=nonsense", 7),
    ],
)
def test_builds_are_filtered(query: str, expected: int, client: Client) -> None:
    assert len(client.get(f"/operator/builds/all?{query}").context["listing"].rows) == expected


def test_a_failed_build_shows_its_log_as_text(client: Client) -> None:
    row = Build.objects.get(state="failed", target="darwin/arm64")
    shown = client.get(f"/operator/builds/{row.pk}").content.decode()
    assert "undefined: batchSize" in shown
    assert "<script>alert" not in shown
    assert "shipper.go:41" in shown
    assert client.get("/operator/builds/bld_nobody").status_code == 404


def test_a_live_build_is_watched_and_one_that_is_over_loads_the_whole_page(client: Client) -> None:
    live = client.get(f"/operator/builds/{running().pk}", headers=HTMX)
    assert "HX-Refresh" not in live.headers
    over = Build.objects.get(state="published")
    assert client.get(f"/operator/builds/{over.pk}", headers=HTMX).headers["HX-Refresh"] == "true"


def test_secrets_of_a_build_are_not_shown(client: Client) -> None:
    Build.objects.filter(pk=running().pk).update(constants={"secret": "c2VjcmV0"}, sealed_constants=b"c2VjcmV0")
    assert b"c2VjcmV0" not in client.get(f"/operator/builds/{running().pk}").content


def test_a_build_is_cancelled_and_the_log_says_by_whom(client: Client, cast: PortalCast) -> None:
    row = running()
    assert "thrown away" in client.get(f"/operator/builds/{row.pk}/cancel").content.decode()
    assert running() == row  # asking changes nothing
    client.post(f"/operator/builds/{row.pk}/cancel")
    row.refresh_from_db()
    assert (row.state, row.lease_owner) == ("cancelled", "")
    event = AuditEvent.objects.get(action="build.cancelled")
    assert (event.actor_kind, event.actor_id) == ("operator", str(cast.operator.pk))


def test_what_is_over_is_not_cancelled(client: Client) -> None:
    row = Build.objects.get(state="published")
    done = client.post(f"/operator/builds/{row.pk}/cancel", follow=True).content.decode()
    assert "The build is published already" in done
    assert Build.objects.filter(pk=row.pk, state="published").exists()


# -- mass rebuilds


def test_a_release_is_rebuilt_for_everybody_who_has_its_plugin(client: Client, cast: PortalCast) -> None:
    asked = client.get(REBUILD).content.decode()
    assert "build of this plugin: 1. Builds to be made: 1." in asked
    done = client.post(REBUILD)
    made = Build.objects.get(state="queued", target="linux/amd64", release__version="2.1.0")
    assert (made.customer_id, made.priority) == ("acme_1", "mass")
    assert done.headers["Location"] == f"/operator/builds/batches/{made.batch}"
    event = AuditEvent.objects.get(action="build.mass_rebuild")
    assert (event.actor_kind, event.actor_id) == ("operator", str(cast.operator.pk))
    again = client.post(REBUILD, follow=True).content.decode()
    assert "on their way already" in again


def test_everything_of_a_customer_is_rebuilt(client: Client) -> None:
    assert "made anew" in client.get("/operator/customers/acme_1/rebuild").content.decode()
    client.post("/operator/customers/acme_1/rebuild")
    assert Build.objects.filter(state="queued", target="linux/amd64", release__version="2.1.0").count() == 1
    nothing = client.post("/operator/customers/globex_1/rebuild", follow=True).content.decode()
    assert "nothing to rebuild" in nothing


def test_a_release_without_a_source_cannot_be_rebuilt(client: Client) -> None:
    done = client.post("/operator/plugins/analytics/releases/1.4.0/rebuild", follow=True).content.decode()
    assert "Only a published release with a source can be built" in done


def test_how_far_a_mass_rebuild_is(client: Client) -> None:
    page = client.get(f"/operator/builds/batches/{BATCH}")
    assert page.context["found"].by_state == {"queued": 1, "failed": 1}
    assert "1 of 2" in page.content.decode()
    assert "at the rate of the last day" in page.content.decode()
    assert "HX-Refresh" not in client.get(f"/operator/builds/batches/{BATCH}", headers=HTMX).headers
    Build.objects.filter(batch=BATCH, state="queued").update(state="cancelled")
    over = client.get(f"/operator/builds/batches/{BATCH}", headers=HTMX)
    assert "Every build of it is over" in over.content.decode()
    assert over.headers["HX-Refresh"] == "true"
    assert client.get("/operator/builds/batches/bat_nobody").status_code == 404


def test_a_worker_has_the_name_that_its_leases_have() -> None:
    from build_farm.services.queue import _new_owner

    assert _new_owner(workers.worker_name()).rpartition(":")[0] == workers.worker_name()
