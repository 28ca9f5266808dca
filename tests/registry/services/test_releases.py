"""Releases: immutable once published, published whole or not at all, channels moved in one step."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection

from licensing.core.errors import Conflict, InvalidValue
from licensing.core.models import OutboxEvent
from licensing.models import Plugin
from registry.errors import ReleaseNotReady, VersionExists
from registry.models import Artifact, Channel, Release
from registry.services.releases import (
    checked_version,
    create_release,
    delete_draft,
    move_channel,
    publish_release,
    set_notes,
    yank_release,
)
from registry.storage import ArtifactStore
from tests.registry import cast
from tests.registry.cast import ACTOR, PUBLIC, TARGET, Cast, now

pytestmark = pytest.mark.django_db


def head(name: str = "stable") -> str:
    return Channel.objects.get(plugin=PUBLIC, name=name).head.version


def test_a_draft_is_nobodys_business_and_publishing_is_told(store: ArtifactStore, loaded: Cast) -> None:
    release = cast.draft(store, PUBLIC, "2.1.0", channels=["stable", "beta"])
    cast.add(store, release, b"x")
    assert not Channel.objects.exists()
    assert publish_release(release=release, actor=ACTOR, now=now()).is_published
    assert (head("stable"), head("beta")) == ("2.1.0", "2.1.0")
    event = OutboxEvent.objects.get(name="release.published")
    assert (event.payload["plugin"], event.payload["version"]) == (PUBLIC, "2.1.0")
    publish_release(release=release, actor=ACTOR, now=now())
    assert OutboxEvent.objects.filter(name="release.published").count() == 1


@pytest.mark.parametrize(("asks", "expected"), [(True, True), (False, False)])
def test_a_published_release_asks_for_installations_unless_its_vendor_says_no(
    store: ArtifactStore, loaded: Cast, asks: bool, expected: bool
) -> None:
    release = cast.draft(store, PUBLIC, "2.1.0")
    cast.add(store, release, b"x")
    publish_release(release=release, actor=ACTOR, now=now(), require_installation=asks)
    assert Plugin.objects.get(pk=PUBLIC).installation_required is expected


def test_nothing_is_published_before_it_is_whole(store: ArtifactStore, loaded: Cast) -> None:
    release = cast.draft(store, PUBLIC, "2.1.0")
    with pytest.raises(ReleaseNotReady, match="nothing to download"):
        publish_release(release=release, actor=ACTOR, now=now())
    unsigned = cast.add(store, release, b"x", signature=None, certificate=None)
    with pytest.raises(ReleaseNotReady, match="being signed"):
        publish_release(release=release, actor=ACTOR, now=now())
    Artifact.objects.filter(pk=unsigned.pk).update(signature=b"s", certificate=b"c")
    with pytest.raises(ReleaseNotReady, match="darwin/arm64"):
        publish_release(release=release, actor=ACTOR, now=now(), expected=[TARGET, "darwin/arm64"])
    assert not Release.objects.get().is_published
    publish_release(release=release, actor=ACTOR, now=now(), expected=[TARGET])


def test_a_version_with_other_bytes_is_refused(store: ArtifactStore, loaded: Cast) -> None:
    release = cast.draft(store, PUBLIC, "2.1.0", source=cast.put(store, b"one"), build_targets=[TARGET])
    same = cast.draft(store, PUBLIC, "2.1.0", source=cast.put(store, b"one"), build_targets=[TARGET])
    assert same.pk == release.pk
    with pytest.raises(VersionExists):
        cast.draft(store, PUBLIC, "2.1.0", source=cast.put(store, b"two"), build_targets=[TARGET])
    with pytest.raises(VersionExists):
        cast.draft(store, PUBLIC, "2.1.0")


def test_a_file_never_changes(store: ArtifactStore, loaded: Cast) -> None:
    release = cast.draft(store, PUBLIC, "2.1.0")
    first = cast.add(store, release, b"one")
    assert cast.add(store, release, b"one").pk == first.pk
    with pytest.raises(VersionExists):
        cast.add(store, release, b"two")
    publish_release(release=release, actor=ACTOR, now=now())
    with pytest.raises(VersionExists):
        cast.add(store, release, b"two")
    with pytest.raises(Conflict, match="published"):
        cast.add(store, release, b"more", target="windows/amd64")
    assert cast.add(store, release, b"one").pk == first.pk


def test_a_customers_newer_build_takes_the_place_of_its_older(store: ArtifactStore, loaded: Cast) -> None:
    release = cast.draft(store, PUBLIC, "2.1.0", source=cast.put(store, b"s"), build_targets=[TARGET])
    publish_release(release=release, actor=ACTOR, now=now())
    options: dict[str, Any] = {"kind": Artifact.Kind.FARM, "customer": loaded.acme.customer}
    old = cast.add(store, release, b"old", build_id="bld_1", **options)
    with pytest.raises(VersionExists):
        cast.add(store, release, b"new", build_id="bld_2", **options)
    new = cast.add(store, release, b"new", build_id="bld_2", supersede=True, **options)
    old.refresh_from_db()
    assert old.superseded_at is not None
    assert new.superseded_at is None
    theirs = cast.add(store, release, b"of globex", kind=Artifact.Kind.FARM, customer=loaded.globex.customer)
    assert theirs.superseded_at is None


@pytest.mark.parametrize(
    "version",
    ["", "1", "1.2", "v1.2.3", "01.2.3", "1.2.3+build", "1.2.3 ", "1.2.3\n", "latest", "1.2.3-" + "a" * 64, "../1.2.3"],
)
def test_only_semantic_versions_are_versions(version: str) -> None:
    with pytest.raises(InvalidValue):
        checked_version(version)


@pytest.mark.parametrize(
    "options",
    [
        {"channels": []},
        {"channels": ["NOT"]},
        {"channels": ["stable\n"]},
        {"channels": [f"c{number}" for number in range(9)]},
        {"notes": "x" * 50_001},
        {"build_targets": [TARGET]},
    ],
)
def test_what_cannot_be_a_release_is_refused(store: ArtifactStore, loaded: Cast, options: Any) -> None:
    with pytest.raises(InvalidValue):
        cast.draft(store, PUBLIC, "1.0.0", **options)


@pytest.mark.parametrize(
    "target", ["", "linux", "linux/", "linux/amd64\n", "/amd64", "Linux/amd64", "linux/amd64/x", "../x", "a b/c"]
)
def test_what_cannot_be_a_target_is_refused(store: ArtifactStore, loaded: Cast, target: str) -> None:
    release = cast.draft(store, PUBLIC, "1.0.0")
    with pytest.raises(InvalidValue):
        cast.add(store, release, b"x", target=target)


@pytest.mark.parametrize("filename", ["", "a\n", ".hidden", "a/b", "a\\b", 'a"b', "a\r\nb", "x" * 300, "é"])
def test_what_cannot_be_a_filename_is_refused(store: ArtifactStore, loaded: Cast, filename: str) -> None:
    release = cast.draft(store, PUBLIC, "1.0.0")
    with pytest.raises(InvalidValue):
        cast.add(store, release, b"x", filename=filename)


def test_an_older_version_published_late_moves_no_channel(store: ArtifactStore, loaded: Cast) -> None:
    cast.publish(store, PUBLIC, "2.0.0")
    cast.publish(store, PUBLIC, "1.9.9")
    assert head() == "2.0.0"


def test_a_channel_moves_back_and_forth_among_its_own(store: ArtifactStore, loaded: Cast) -> None:
    for version in ("1.0.0", "2.0.0"):
        cast.publish(store, PUBLIC, version)
    plugin = Plugin.objects.get(pk=PUBLIC)
    old = Release.objects.get(version="1.0.0")
    channel = move_channel(plugin=plugin, name="stable", release=old, actor=ACTOR, now=now())
    assert (channel.head.version, channel.previous.version if channel.previous else None) == ("1.0.0", "2.0.0")
    move_channel(plugin=plugin, name="stable", release=old, actor=ACTOR, now=now())
    assert OutboxEvent.objects.filter(name="release.channel_moved").count() == 1


@pytest.mark.parametrize("why", ["draft", "yanked", "another plugin", "another channel"])
def test_a_channel_offers_only_what_can_be_offered(store: ArtifactStore, loaded: Cast, why: str) -> None:
    cast.publish(store, PUBLIC, "2.0.0")
    match why:
        case "draft":
            release = cast.draft(store, PUBLIC, "1.0.0")
        case "yanked":
            release = cast.publish(store, PUBLIC, "1.0.0").release
            yank_release(release=release, reason="", actor=ACTOR, now=now())
        case "another plugin":
            release = cast.publish(store, cast.PREMIUM, "1.0.0").release
        case _:
            release = cast.publish(store, PUBLIC, "1.0.0", channels=["beta"]).release
    with pytest.raises(Conflict):
        move_channel(plugin=Plugin.objects.get(pk=PUBLIC), name="stable", release=release, actor=ACTOR, now=now())
    assert head() == "2.0.0"


def test_only_drafts_are_deleted(store: ArtifactStore, loaded: Cast) -> None:
    release = cast.draft(store, PUBLIC, "2.1.0")
    cast.add(store, release, b"x")
    delete_draft(release=release, actor=ACTOR)
    assert not Release.objects.exists()
    published = cast.publish(store, PUBLIC, "2.1.0").release
    with pytest.raises(Conflict):
        delete_draft(release=published, actor=ACTOR)
    assert set_notes(release=published, notes="New", actor=ACTOR).notes == "New"


def at_once(work: Callable[[int], Any], count: int = 8) -> list[Any]:
    """Run `work` in threads of their own; a domain error is a result."""

    def run(number: int) -> Any:
        try:
            return work(number)
        except Conflict as exc:
            return exc
        finally:
            connection.close()

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


@pytest.mark.django_db(transaction=True)
def test_two_uploads_of_one_file_at_once_make_one(store: ArtifactStore) -> None:
    cast.load_cast()
    release = cast.draft(store, PUBLIC, "2.1.0")
    made = at_once(lambda number: cast.add(store, release, b"the same").pk, 6)
    assert len(set(made)) == 1
    other = at_once(lambda number: cast.add(store, release, f"another {number}".encode(), target="any").pk, 6)
    assert sorted(type(each).__name__ for each in other) == ["VersionExists"] * 5 + ["str"]


@pytest.mark.django_db(transaction=True)
def test_one_version_created_and_published_by_many_at_once_is_one(store: ArtifactStore) -> None:
    cast.load_cast()
    source = cast.put(store, b"source")

    def publish(number: int) -> str:
        release = create_release(
            plugin=Plugin.objects.get(pk=PUBLIC),
            version="2.1.0",
            actor=ACTOR,
            now=now(),
            store=store,
            source=source,
            build_targets=[TARGET],
        )
        return publish_release(release=release, actor=ACTOR, now=now()).pk

    assert len(set(at_once(publish))) == 1
    assert OutboxEvent.objects.filter(name="release.published").count() == 1


@pytest.mark.django_db(transaction=True)
def test_releases_published_at_once_leave_the_newest_at_the_head(store: ArtifactStore) -> None:
    cast.load_cast()
    releases = []
    for number in range(6):
        releases.append(cast.draft(store, PUBLIC, f"1.{number}.0"))
        cast.add(store, releases[-1], f"{number}".encode())
    at_once(lambda number: publish_release(release=releases[number], actor=ACTOR, now=now()).pk, 6)
    assert head() == "1.5.0"
