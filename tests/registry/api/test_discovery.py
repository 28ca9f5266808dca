"""What hosts are told: lists, channels, roll backs, notes, what is newer; and builds that they wait for."""

from typing import Any

import pytest

from licensing.core.models import OutboxEvent
from licensing.models import Plugin
from registry.models import Artifact, Release, RequestedBuild
from registry.services.releases import move_channel, unyank_release, yank_release
from registry.services.requested_builds import note_build, request_build
from registry.storage import ArtifactStore
from tests.registry import cast
from tests.registry.cast import ACTOR, PREMIUM, PRIVATE, PUBLIC, TARGET, Cast, Host, body_of, json_of, now

pytestmark = pytest.mark.django_db


def latest(host: Host, **query: str) -> str | None:
    asked = "&".join(f"{name}={value}" for name, value in query.items())
    found: str | None = json_of(host.get(f"/api/registry/plugins/{PUBLIC}?{asked}"))["latest_version"]
    return found


def update_of(host: Host, version: str, **options: str) -> tuple[str, str | None]:
    body = {"installed": [{"plugin": PUBLIC, "version": version}], **options}
    (entry,) = json_of(host.send("POST", "/api/registry/updates", body))["updates"]
    return entry["status"], entry["latest_version"]


def test_versions_are_compared_as_versions(store: ArtifactStore, loaded: Cast) -> None:
    for version in ("2.10.0", "2.9.0", "2.10.0-rc.2", "2.10.0-rc.10"):
        cast.publish(store, PUBLIC, version)
    detail = json_of(Host(loaded.acme.key).get(f"/api/registry/plugins/{PUBLIC}"))
    assert [entry["version"] for entry in detail["releases"]] == ["2.10.0", "2.10.0-rc.10", "2.10.0-rc.2", "2.9.0"]
    assert detail["latest_version"] == "2.10.0"


def test_beta_offers_what_is_newer_of_both(store: ArtifactStore, loaded: Cast) -> None:
    host = Host(loaded.acme.key)
    cast.publish(store, PUBLIC, "2.0.0")
    cast.publish(store, PUBLIC, "2.1.0-beta.1", channels=["beta"])
    assert (latest(host), latest(host, channel="beta")) == ("2.0.0", "2.1.0-beta.1")
    cast.publish(store, PUBLIC, "2.1.0")
    assert (latest(host), latest(host, channel="beta")) == ("2.1.0", "2.1.0")
    assert latest(host, channel="nightly") == "2.1.0"


def test_a_platform_sees_what_runs_on_it(store: ArtifactStore, loaded: Cast) -> None:
    host = Host(loaded.acme.key)
    cast.publish(store, PUBLIC, "2.0.0")
    release = cast.draft(store, PUBLIC, "2.1.0")
    cast.add(store, release, b"for windows", target="windows/amd64")
    cast.publish_release(release=release, actor=ACTOR, now=now())
    assert latest(host, platform="linux/amd64") == "2.0.0"
    assert latest(host, platform="windows/amd64") == "2.1.0"
    assert latest(host, platform="plan9/arm") is None
    assert json_of(host.get("/api/registry/plugins?platform=plan9/arm"))["plugins"] == []
    assert host.get("/api/registry/plugins?platform=linux").status_code == 400
    assert host.get("/api/registry/plugins?colour=red").status_code == 400


def test_a_file_for_any_target_is_for_all(store: ArtifactStore, loaded: Cast) -> None:
    release = cast.draft(store, PUBLIC, "2.1.0")
    cast.add(store, release, b"a script", target="any")
    cast.add(store, release, b"a program", target="windows/amd64")
    cast.publish_release(release=release, actor=ACTOR, now=now())
    host = Host(loaded.acme.key)
    assert latest(host, platform="plan9/arm") == "2.1.0"
    assert body_of(host.fetch(host.url(PUBLIC, "2.1.0", "plan9/arm"))) == b"a script"
    assert body_of(host.fetch(host.url(PUBLIC, "2.1.0", "windows/amd64"))) == b"a program"


def test_a_yanked_release_is_not_offered_and_still_fetched(store: ArtifactStore, loaded: Cast) -> None:
    host = Host(loaded.acme.key)
    cast.publish(store, PUBLIC, "2.0.0")
    cast.publish(store, PUBLIC, "2.1.0")
    newest = Release.objects.get(version="2.1.0")
    yank_release(release=newest, reason="Crashes on start", actor=ACTOR, now=now())
    assert latest(host) == "2.0.0"
    assert update_of(host, "2.1.0") == ("withdrawn", "2.0.0")
    shown = json_of(host.get(f"/api/registry/plugins/{PUBLIC}/releases/2.1.0"))
    assert (shown["is_yanked"], shown["yanked_reason"]) == (True, "Crashes on start")
    assert body_of(host.fetch(host.url(PUBLIC, "2.1.0"))) == cast.content_of(PUBLIC, "2.1.0")
    unyank_release(release=newest, actor=ACTOR)
    assert latest(host) == "2.1.0"


def test_a_channel_that_was_rolled_back_offers_nothing_newer(store: ArtifactStore, loaded: Cast) -> None:
    host = Host(loaded.acme.key)
    for version in ("1.0.0", "2.0.0", "3.0.0"):
        cast.publish(store, PUBLIC, version)
    first = Release.objects.get(version="1.0.0")
    plugin = Plugin.objects.get(pk=PUBLIC)
    move_channel(plugin=plugin, name="stable", release=first, actor=ACTOR, now=now())
    assert latest(host) == "1.0.0"
    assert update_of(host, "3.0.0") == ("withdrawn", "1.0.0")
    assert update_of(host, "0.9.0") == ("update_available", "1.0.0")
    cast.publish(store, PUBLIC, "3.0.1")
    assert latest(host) == "3.0.1"


@pytest.mark.parametrize(
    ("installed", "expected"),
    [
        ("2.1.0", ("current", "2.1.0")),
        ("2.0.0", ("update_available", "2.1.0")),
        ("2.1.0-rc.1", ("update_available", "2.1.0")),
        ("9.9.9", ("withdrawn", "2.1.0")),
        ("not-a-version", ("update_available", "2.1.0")),
    ],
)
def test_what_is_newer(store: ArtifactStore, loaded: Cast, installed: str, expected: tuple[str, str | None]) -> None:
    cast.publish(store, PUBLIC, "2.0.0")
    cast.publish(store, PUBLIC, "2.1.0")
    assert update_of(Host(loaded.acme.key), installed) == expected


def test_a_beta_on_a_machine_is_current_though_stable_is_older(store: ArtifactStore, loaded: Cast) -> None:
    cast.publish(store, PUBLIC, "2.0.0")
    cast.publish(store, PUBLIC, "2.1.0-beta.1", channels=["beta"])
    assert update_of(Host(loaded.acme.key), "2.1.0-beta.1") == ("current", "2.0.0")


def test_updates_answer_in_the_order_asked(store: ArtifactStore, loaded: Cast) -> None:
    cast.publish(store, PUBLIC, "2.1.0")
    body = {"installed": [{"plugin": name, "version": "1.0.0"} for name in ("zzz", PUBLIC, PREMIUM, PUBLIC)]}
    updates = json_of(Host(loaded.acme.key).send("POST", "/api/registry/updates", body))["updates"]
    assert [(entry["plugin"], entry["status"]) for entry in updates] == [
        ("zzz", "unknown"),
        (PUBLIC, "update_available"),
        (PREMIUM, "unknown"),
        (PUBLIC, "update_available"),
    ]


@pytest.mark.parametrize(
    "body",
    [
        None,
        {},
        {"installed": "x"},
        {"installed": [{"plugin": PUBLIC}]},
        {"installed": [{"plugin": PUBLIC, "version": 2}]},
        {"installed": [{"plugin": PUBLIC, "version": "1.0.0"}] * 201},
        {"installed": [], "channel": "NOT A CHANNEL"},
        {"installed": [], "channel": "stable\n"},
        {"installed": [], "platform": "linux/amd64\n"},
    ],
)
def test_what_cannot_be_asked_is_400(loaded: Cast, body: Any) -> None:
    assert Host(loaded.acme.key).send("POST", "/api/registry/updates", body).status_code in (400, 415)


def test_a_line_break_is_no_part_of_a_name(store: ArtifactStore, loaded: Cast) -> None:
    cast.publish(store, PUBLIC, "2.1.0")
    host = Host(loaded.acme.key)
    path = f"/api/registry/plugins/{PUBLIC}/releases/2.1.0/download"
    for body in ({"os": "linux\n", "arch": "amd64"}, {"os": "linux", "arch": "amd64\n"}):
        assert host.send("POST", path, body).status_code == 400
    for query in ("channel=stable%0a", "platform=linux/amd64%0a"):
        assert host.get(f"/api/registry/plugins?{query}").status_code == 400
    assert host.get(f"/api/registry/plugins/{PUBLIC}%0a").status_code == 404


def test_notes_are_shown_harmless(store: ArtifactStore, loaded: Cast) -> None:
    release = cast.draft(store, PUBLIC, "2.1.0", notes="# New\n<script>alert(1)</script>\n[x](javascript:alert(1))")
    cast.add(store, release, b"x")
    cast.publish_release(release=release, actor=ACTOR, now=now())
    shown = json_of(Host(loaded.acme.key).get(f"/api/registry/plugins/{PUBLIC}/releases/2.1.0"))
    assert shown["notes_html"].startswith("<h1>New</h1>")
    assert "<script" not in shown["notes_html"]
    assert 'href="javascript' not in shown["notes_html"]


# -- Builds that are made when somebody asks


@pytest.fixture
def buildable(store: ArtifactStore, loaded: Cast) -> Release:
    release = cast.draft(
        store, PUBLIC, "2.1.0", source=cast.put(store, b"source"), build_targets=[TARGET, "linux/arm64"]
    )
    return cast.publish_release(release=release, actor=ACTOR, now=now())


def test_asking_for_what_is_not_built_starts_the_build_once(
    store: ArtifactStore, loaded: Cast, buildable: Release
) -> None:
    host = Host(loaded.acme.key)
    assert latest(host, platform=TARGET) == "2.1.0"
    first, second = host.ask(PUBLIC, "2.1.0"), host.ask(PUBLIC, "2.1.0")
    assert (first.status_code, second.status_code) == (202, 202)
    assert first.headers["Location"] == second.headers["Location"]
    event = OutboxEvent.objects.get(name="build.requested")
    assert event.customer_id == "cust_123"
    assert event.payload == {
        "request_id": json_of(first)["request_id"],
        "release_id": buildable.id,
        "plugin": PUBLIC,
        "version": "2.1.0",
        "target": TARGET,
        "priority": "interactive",
    }
    waiting = host.get(first.headers["Location"])
    assert (waiting.status_code, json_of(waiting)["status"]) == (202, "requested")


def test_the_build_that_arrives_ends_the_waiting(store: ArtifactStore, loaded: Cast, buildable: Release) -> None:
    host = Host(loaded.acme.key)
    location = host.ask(PUBLIC, "2.1.0").headers["Location"]
    note_build(release=buildable, customer_id="cust_123", target=TARGET, status="building", detail="2nd", now=now())
    assert json_of(host.get(location))["detail"] == "2nd"
    build = cast.add(store, buildable, b"of acme", kind=Artifact.Kind.FARM, customer=loaded.acme.customer)
    ready = host.get(location)
    assert (ready.status_code, json_of(ready)["status"]) == (200, "ready")
    asked = host.send("POST", json_of(ready)["download"], {"os": "linux", "arch": "amd64"})
    assert json_of(asked)["sha256"] == build.sha256
    assert body_of(host.fetch(host.url(PUBLIC, "2.1.0"))) == b"of acme"


def test_a_build_that_failed_is_told_and_can_be_asked_for_again(loaded: Cast, buildable: Release) -> None:
    host = Host(loaded.acme.key)
    location = host.ask(PUBLIC, "2.1.0").headers["Location"]
    note_build(release=buildable, customer_id="cust_123", target=TARGET, status="failed", detail="No.", now=now())
    failed = host.get(location)
    assert (failed.status_code, json_of(failed)["status"], json_of(failed)["detail"]) == (200, "failed", "No.")
    again = host.ask(PUBLIC, "2.1.0")
    assert (again.status_code, again.headers["Location"] != location) == (202, True)


def test_a_target_that_nobody_builds_is_not_there(loaded: Cast, buildable: Release) -> None:
    assert Host(loaded.acme.key).ask(PUBLIC, "2.1.0", "plan9/arm").status_code == 404
    assert not RequestedBuild.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_twenty_who_ask_at_once_start_one_build(store: ArtifactStore) -> None:
    from concurrent.futures import ThreadPoolExecutor

    from django.db import connection

    loaded = cast.load_cast()
    release = cast.draft(store, PUBLIC, "2.1.0", source=cast.put(store, b"s"), build_targets=[TARGET])
    cast.publish_release(release=release, actor=ACTOR, now=now())

    def ask(_: int) -> str:
        try:
            return request_build(release=release, customer_id=loaded.acme.id, target=TARGET, actor=ACTOR).id
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        asked = set(pool.map(ask, range(20)))
    assert len(asked) == 1
    assert OutboxEvent.objects.filter(name="build.requested").count() == 1


# -- The private registry's index


def test_the_index_is_json_for_programs(store: ArtifactStore, loaded: Cast) -> None:
    cast.publish(store, PRIVATE, "2.1.0")
    cast.publish(store, PUBLIC, "1.0.0")
    for credential in (loaded.globex.key, loaded.globex.pat):
        response = Host(credential).get("/private/enterprise_456/")
        index = json_of(response)
        assert response.headers["Content-Type"] == "application/json"
        assert index["customer_id"] == "enterprise_456"
        assert index["allowed_plugins"] == [PRIVATE]
        assert [entry["name"] for entry in index["plugins"]] == [PUBLIC, PRIVATE]
        assert index["policy"]["plugin_verification"] == "strict"


def test_the_index_is_a_page_for_people(store: ArtifactStore, loaded: Cast) -> None:
    import base64

    release = cast.draft(store, PRIVATE, "2.1.0", notes="*new* <img src=x onerror=alert(1)>")
    cast.add(store, release, b"x")
    cast.publish_release(release=release, actor=ACTOR, now=now())
    asked = Host().get("/private/enterprise_456/", Accept="text/html")
    assert (asked.status_code, asked.headers["WWW-Authenticate"].split()[0]) == (401, "Basic")
    basic = base64.b64encode(f"token:{loaded.globex.pat}".encode()).decode()
    page = Host().get("/private/enterprise_456/", Accept="text/html,*/*;q=0.1", Authorization=f"Basic {basic}")
    text = body_of(page).decode()
    assert (page.status_code, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert f"<h2>{PRIVATE}</h2>" in text
    assert "<em>new</em>" in text
    assert "<img" not in text
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert page.headers["Cache-Control"] == "no-store"
    assert "Accept" in page.headers["Vary"]


def test_there_is_no_index_without_the_feature(loaded: Cast) -> None:
    assert Host(loaded.acme.key).get("/private/cust_123/").status_code == 404
