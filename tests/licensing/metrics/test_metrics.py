"""The metrics: what docs/metrics.md says of them, that they are counted, and that all processes' are summed."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from django.db import OperationalError
from django.test import Client
from prometheus_client import REGISTRY
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.parser import text_string_to_metric_families
from pytest_django import DjangoCaptureOnCommitCallbacks, Settings

from licensing.core import metrics
from licensing.services import metrics as served
from licensing.services import seen_tokens
from licensing.services.metrics import ServerState, forget_ended_processes, render_metrics
from licensing.snapshots.protocol import Counters
from tests.docker.dockerfile import read_stages
from tests.licensing.api.driver import PluginApi
from tests.licensing.cast import Cast

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
SUFFIXES = ("_bucket", "_sum", "_count")


class Described(NamedTuple):
    name: str
    kind: str
    labels: tuple[str, ...]


def on_the_page() -> set[Described]:
    rows = re.findall(r"^\| `(keywright_\w+)` \| (\w+) \|([^|]*)\|", PAGE, flags=re.MULTILINE)
    return {Described(name, kind, tuple(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}


def counted_here() -> set[Described]:
    found = [each for each in vars(metrics).values() if isinstance(each, MetricWrapperBase) and not each._labelvalues]
    return {Described(_exposed(each._name, each._type), each._type, tuple(each._labelnames)) for each in found}


def told_by_the_database() -> set[Described]:
    families = list(ServerState().collect())
    return {
        Described(family.name, family.type, tuple(sorted({name for each in family.samples for name in each.labels})))
        for family in families
    }


def _exposed(name: str, kind: str) -> str:
    return f"{name}_total" if kind == "counter" else name


def values(text: bytes) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Every sample of a rendered page, by name and labels."""
    families = text_string_to_metric_families(text.decode())
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def grows(metric: Callable[[], float]) -> Callable[[], float]:
    """How much a number has grown since now."""
    before = metric()
    return lambda: metric() - before


def sample(name: str, **labels: str) -> Callable[[], float]:
    return lambda: REGISTRY.get_sample_value(name, labels) or 0.0


class TestPage:
    @pytest.mark.django_db
    def test_lists_every_metric_with_its_type_and_labels_and_no_other(self, cast: Cast) -> None:
        assert len(told_by_the_database()) == 5
        assert on_the_page() == counted_here() | told_by_the_database()

    def test_every_metric_of_ours_is_defined_in_the_one_place(self) -> None:
        ours = {family.name for family in REGISTRY.collect() if family.name.startswith("keywright_")}
        assert ours == {each.name.removesuffix("_total") for each in counted_here()}

    def test_its_alerts_name_metrics_that_exist(self) -> None:
        known = {each.name for each in on_the_page()}
        named = set(re.findall(r"keywright_\w+", PAGE))
        histograms = {each.name for each in on_the_page() if each.kind == "histogram"}
        assert named - known <= {f"{name}{suffix}" for name in histograms for suffix in SUFFIXES}

    def test_names_every_value_of_the_labels(self) -> None:
        labels = PAGE.partition("## What the labels say")[2].partition("\n## ")[0]
        named = set(re.findall(r"`([\w/]+)`", labels))
        assert {each.name for each in fields(Counters)} <= named
        assert {metrics.endpoint_of(path) for path in PATHS} <= named
        assert {"allowed", "refused", "blocked", "failed_open", "sign_token", "sign_lease", "verify_token"} <= named


PATHS = (
    *(f"/api/plugins/{name}" for name in ("authenticate", "validate", "refresh", "deactivate", "usage", "report")),
    *("/api/registry/plugins", "/private/cust_123/", "/download/x", "/api/manage/tiers", "/api/account/keys"),
    *("/api/schema", "/.well-known/jwks.json", "/livez", "/readyz", "/metrics", "/static/x.css", "/sign-in", "/"),
)


class TestCounting:
    @pytest.mark.django_db
    def test_an_authenticate_signs_a_token_and_a_lease_and_takes_a_place_once(
        self,
        api: PluginApi,
        cast: Cast,
        django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
    ) -> None:
        activated = grows(sample("keywright_activations_total"))
        signed = grows(sample("keywright_token_seconds_count", operation="sign_token"))
        leased = grows(sample("keywright_token_seconds_count", operation="sign_lease"))
        answered = grows(sample("keywright_request_seconds_count", endpoint="plugins/authenticate", code="200"))
        body = {"fingerprint": "machine-of-the-metrics"}
        with django_capture_on_commit_callbacks(execute=True):
            for _ in range(2):
                assert api.authenticate(cast.acme, installation=body).status_code == 200
            assert activated() == 0  # nothing is committed yet
        assert (signed(), leased(), answered(), activated()) == (2, 2, 2, 1)

    @pytest.mark.django_db
    def test_a_token_is_verified_once_and_validates_count_by_verdict(
        self, api: PluginApi, cast: Cast, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(seen_tokens, "_seen", {})
        token = api.token(cast.acme)
        verified = grows(sample("keywright_token_seconds_count", operation="verify_token"))
        good = grows(sample("keywright_request_seconds_count", endpoint="plugins/validate", code="VALID"))
        bad = grows(sample("keywright_request_seconds_count", endpoint="plugins/validate", code="TOKEN_INVALID"))
        for _ in range(3):
            answered = api.validate(token)
            assert answered.status_code == 200, answered.content
        api.validate(token[:-4] + "AAAA")
        assert (good(), bad()) == (3, 1)
        assert 1 <= verified() <= 2

    @pytest.mark.django_db
    def test_a_refused_credential_counts_by_its_code(self, api: PluginApi, cast: Cast) -> None:
        refused = grows(sample("keywright_authentication_failures_total", reason="API_KEY_INVALID"))
        counted = grows(sample("keywright_bad_credentials_total"))
        assert api.authenticate(cast.acme, key="km_live_" + "x" * 36).status_code == 401
        assert (refused(), counted()) == (1, 1)

    def test_labels_come_from_fixed_sets_whatever_is_asked(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(metrics, "_codes", set())
        monkeypatch.setattr(metrics, "_MAX_CODES", 2)
        assert metrics.endpoint_of("/api/plugins/../../etc/passwd") == "plugins/other"
        assert metrics.endpoint_of("/" + "x" * 1000) == "pages"
        assert not metrics.is_known_code("not a code")
        assert not metrics.is_known_code("x" * 100)
        assert [metrics.is_known_code(code) for code in ("ONE", "TWO", "THREE", "ONE")] == [True, True, False, True]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder where two processes have counted: one 3 times, one 4 times. Both have ended."""
    found = tmp_path / "not" / "yet" / "there"
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(found)}
    for times in ("3", "4"):
        subprocess.run(
            [sys.executable, str(Path(__file__).with_name("observe.py")), times], env=environment, check=True
        )
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(found))
    return found


@pytest.mark.django_db
class TestManyProcesses:
    def test_whoever_is_asked_tells_the_sums(self, folder: Path, cast: Cast) -> None:
        told = values(render_metrics())
        labels = (("code", "VALID"), ("endpoint", "plugins/validate"))
        assert told["keywright_request_seconds_count", labels] == 7
        assert told["keywright_request_seconds_sum", labels] == pytest.approx(0.014)
        assert told["keywright_limiter_total", (("outcome", "allowed"),)] == 7
        assert told["keywright_activations_total", ()] == 7
        assert ("keywright_outbox_waiting", ()) in told

    def test_what_an_ended_process_said_of_itself_is_forgotten_and_what_it_counted_is_not(
        self, folder: Path, cast: Cast
    ) -> None:
        assert list(folder.glob("gauge_live*.db"))
        told = values(render_metrics())
        assert not [name for name, _ in told if name in ("keywright_snapshot_entries", "keywright_valkey_away")]
        assert list(folder.glob("gauge_live*.db")) == []
        assert told["keywright_activations_total", ()] == 7

    def test_gauges_of_live_processes_are_added_up(self, folder: Path, cast: Cast) -> None:
        # The files of the ended two, as if they lived: this process and its parent do.
        for place, alive in zip(sorted(folder.glob("gauge_livesum_*.db")), (os.getpid(), os.getppid()), strict=True):
            place.rename(folder / f"gauge_livesum_{alive}.db")
        forget_ended_processes(folder)
        assert values(render_metrics())["keywright_snapshot_entries", ()] == 7


def test_the_processes_of_a_container_count_together_where_it_may_write() -> None:
    stage = read_stages(ROOT / "docker" / "Dockerfile")["web"]
    (folder,) = [text for each in stage.all("ENV") for text in re.findall(r"PROMETHEUS_MULTIPROC_DIR=(\S+)", each)]
    compose = (ROOT / "docker" / "compose.yaml").read_text(encoding="utf-8")
    assert folder.startswith("/tmp/")
    assert 'tmpfs: ["/tmp:' in compose


@pytest.mark.django_db
class TestServerState:
    def test_tells_when_certificates_and_the_key_set_run_out(self, cast: Cast) -> None:
        told = values(render_metrics())
        purposes = {dict(labels)["purpose"] for name, labels in told if name.startswith("keywright_certificate")}
        assert "keyset" in purposes
        assert told["keywright_key_set_expires_timestamp_seconds", ()] > 0

    def test_is_left_out_while_the_database_does_not_answer(self, cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
        class Away:
            def cursor(self) -> Any:
                raise OperationalError

        monkeypatch.setattr(served, "connection", Away())
        told = values(render_metrics())
        assert not [name for name, _ in told if name.startswith(("keywright_outbox", "keywright_certificate"))]
        assert [name for name, _ in told if name.startswith("keywright_limiter")]


@pytest.mark.django_db
class TestWhoMayRead:
    def test_networks_that_may_ask_directly(self, settings: Settings, client: Client, cast: Cast) -> None:
        answer = client.get("/metrics")
        assert answer.status_code == 200
        assert answer.headers["Content-Type"].startswith("text/plain")
        assert ("keywright_outbox_waiting", ()) in values(answer.content)

    @pytest.mark.parametrize(
        "meta",
        [{"REMOTE_ADDR": "192.0.2.1"}, {"HTTP_X_FORWARDED_FOR": "127.0.0.1"}, {"HTTP_FORWARDED": "for=127.0.0.1"}],
        ids=["elsewhere", "through a proxy", "through another"],
    )
    def test_nobody_else_learns_of_it(self, client: Client, meta: dict[str, str]) -> None:
        answer = client.get("/metrics", **meta)  # type: ignore[arg-type]
        assert answer.status_code == 404
        assert b"keywright" not in answer.content
