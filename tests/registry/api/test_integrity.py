"""Bytes that are not what was published are never sent, and everybody hears of it."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from pytest_django import Settings

from licensing.core.models import OutboxEvent
from licensing.models import Quarantine
from registry.models import Artifact, StoredFile
from registry.storage import ArtifactStore
from tests.registry import cast
from tests.registry.cast import PUBLIC, Cast, Host, body_of, content_of, json_of

pytestmark = pytest.mark.django_db
VERSION = "2.1.0"
CONTENT = content_of(PUBLIC, VERSION)


def path_of(settings: Settings, artifact: Artifact) -> Path:
    digest = artifact.sha256
    return Path(settings.ARTIFACT_DIR) / "sha256" / digest[:2] / digest[2:4] / digest


def change_a_byte(path: Path) -> None:
    """Through the file system, with the modification time put back."""
    before = path.stat()
    path.chmod(0o600)
    with path.open("r+b") as file:
        file.seek(50_000)
        file.write(b"!")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert path.stat().st_size == before.st_size


def truncate(path: Path) -> None:
    path.chmod(0o600)
    os.truncate(path, 99_000)


def replace(path: Path) -> None:
    other = path.with_suffix(".other")
    other.write_bytes(bytes(100_003))
    other.replace(path)


def link_elsewhere(path: Path) -> None:
    target = path.with_suffix(".target")
    path.rename(target)
    path.symlink_to(target)


DAMAGES: dict[str, Callable[[Path], None]] = {
    "a byte": change_a_byte,
    "truncated": truncate,
    "replaced": replace,
    "gone": Path.unlink,
    "a link": link_elsewhere,
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("was_sent_before", [True, False])
def test_a_damaged_file_is_never_sent(
    folder_store: ArtifactStore, loaded: Cast, settings: Settings, damage: str, was_sent_before: bool
) -> None:
    artifact = cast.publish(folder_store, PUBLIC, VERSION)
    other = cast.publish(folder_store, PUBLIC, "2.2.0")
    host = Host(loaded.acme.key)
    url = host.url(PUBLIC, VERSION)
    if was_sent_before:
        assert body_of(host.fetch(url)) == CONTENT
    DAMAGES[damage](path_of(settings, artifact))
    _assert_refused_and_told(host, url, artifact)
    assert body_of(host.fetch(host.url(PUBLIC, other.release.version))) == content_of(PUBLIC, "2.2.0")


def test_a_byte_changed_behind_our_back_is_never_sent_and_harms_no_other_file(
    store: ArtifactStore, loaded: Cast, spoil: Callable[[str], None]
) -> None:
    artifact, other = (cast.publish(store, PUBLIC, version) for version in (VERSION, "2.2.0"))
    host = Host(loaded.acme.key)
    url, others = host.url(PUBLIC, VERSION), host.url(PUBLIC, "2.2.0")
    assert body_of(host.fetch(url)) == CONTENT
    spoil(artifact.sha256)
    _assert_refused_and_told(host, url, artifact)
    for good in (others, host.url(PUBLIC, other.release.version)):
        assert body_of(host.fetch(good)) == content_of(PUBLIC, "2.2.0")


def _assert_refused_and_told(host: Host, url: str, artifact: Artifact) -> None:
    response = host.fetch(url)
    assert (response.status_code, response.headers.get("X-Integrity-Error")) == (409, "1")
    assert json_of(response)["code"] == "INTEGRITY_ERROR"
    entry = Quarantine.objects.get()
    assert (entry.scope, entry.plugin_name, entry.target) == ("artifact", PUBLIC, artifact.sha256)
    alert = OutboxEvent.objects.get(name="security.alert")
    assert alert.payload["sha256"] == artifact.sha256
    assert alert.payload["artifacts"][0]["artifact_id"] == artifact.id
    assert OutboxEvent.objects.filter(name="quarantine.changed").exists()
    # The URL is dead now, and no other is given.
    assert json_of(host.fetch(url))["code"] == "DOWNLOAD_URL_REVOKED"
    assert json_of(host.ask(artifact.release.plugin_id, artifact.release.version))["code"] == "PLUGIN_QUARANTINED"
    assert OutboxEvent.objects.filter(name="security.alert").count() == 1


def test_a_file_that_changes_while_it_is_sent_is_cut_off(
    folder_store: ArtifactStore, loaded: Cast, settings: Settings
) -> None:
    from registry.storage import FileDamaged

    artifact = cast.publish(folder_store, PUBLIC, VERSION, content=os.urandom(400_000))
    host = Host(loaded.acme.key)
    response = host.fetch(host.url(PUBLIC, VERSION))
    pieces = iter(response)  # type: ignore[call-overload]
    sent = [len(next(pieces))]
    path = path_of(settings, artifact)
    path.chmod(0o600)
    with path.open("r+b") as file:
        file.seek(390_000)
        file.write(b"changed")
    with pytest.raises(FileDamaged):
        sent.extend(len(piece) for piece in pieces)
    assert sum(sent) < 390_000
    assert Quarantine.objects.get().target == artifact.sha256


def test_s3_overwriting_an_object_harms_nobody(s3_store: ArtifactStore, loaded: Cast, s3_bucket: Any) -> None:
    """The bucket keeps versions: what is sent is the very version that was written."""
    artifact = cast.publish(s3_store, PUBLIC, VERSION)
    host = Host(loaded.acme.key)
    s3_bucket.Object(f"sha256/{artifact.sha256}").put(Body=b"!" + CONTENT[1:])
    assert body_of(host.fetch(host.url(PUBLIC, VERSION))) == CONTENT


@pytest.mark.parametrize("with_checksum", [True, False])
def test_s3_an_object_with_another_checksum_is_never_sent(
    s3_store: ArtifactStore, loaded: Cast, s3_bucket: Any, with_checksum: bool
) -> None:
    artifact = cast.publish(s3_store, PUBLIC, VERSION)
    options = {"ChecksumAlgorithm": "SHA256"} if with_checksum else {}
    written = s3_bucket.Object(f"sha256/{artifact.sha256}").put(Body=b"!" + CONTENT[1:], **options)
    # As in a bucket that keeps no versions: the object that is there is the one that is looked at.
    StoredFile.objects.update(object_version=written["VersionId"])
    host = Host(loaded.acme.key)
    _assert_refused_and_told(host, host.url(PUBLIC, VERSION), artifact)


def test_s3_a_version_that_was_deleted_is_damage(s3_store: ArtifactStore, loaded: Cast, s3_bucket: Any) -> None:
    artifact = cast.publish(s3_store, PUBLIC, VERSION)
    s3_bucket.object_versions.filter(Prefix=f"sha256/{artifact.sha256}").delete()
    host = Host(loaded.acme.key)
    _assert_refused_and_told(host, host.url(PUBLIC, VERSION), artifact)


def test_a_store_that_is_away_is_503_and_no_damage(s3_store: ArtifactStore, loaded: Cast, settings: Settings) -> None:
    cast.publish(s3_store, PUBLIC, VERSION)
    host = Host(loaded.acme.key)
    url = host.url(PUBLIC, VERSION)
    settings.ARTIFACT_S3_ENDPOINT = "http://127.0.0.1:9"
    response = host.fetch(url)
    assert (response.status_code, response.headers["Retry-After"]) == (503, "5")
    assert not Quarantine.objects.exists()


def test_verify_storage_reads_everything_with_progress(
    store: ArtifactStore, loaded: Cast, capsys: pytest.CaptureFixture[str]
) -> None:
    for version in ("1.0.0", "1.1.0", "1.2.0"):
        cast.publish(store, PUBLIC, version)
    call_command("verify_storage")
    out = capsys.readouterr().out.splitlines()
    assert [line.split(" files")[0] for line in out[:3]] == ["1/3", "2/3", "3/3"]
    assert out[2].endswith("(100 %)")
    assert not StoredFile.objects.filter(verified_at=None).exists()


def test_verify_storage_finds_damage(
    store: ArtifactStore, loaded: Cast, spoil: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = cast.publish(store, PUBLIC, "1.0.0"), cast.publish(store, PUBLIC, "1.1.0")
    spoil(bad.sha256)
    with pytest.raises(CommandError, match="1 of 2 stored files are damaged"):
        call_command("verify_storage", "--no-progress")
    assert f"DAMAGED {bad.sha256} (digest)" in capsys.readouterr().err
    assert [entry.target for entry in Quarantine.objects.all()] == [bad.sha256]
    assert StoredFile.objects.get(pk=good.sha256).verified_at is not None


@pytest.fixture
def rotten(s3_store: ArtifactStore, loaded: Cast, s3_bucket: Any) -> Artifact:
    """An artifact whose bytes changed inside S3 itself, behind a checksum that still says what they were."""
    from moto.s3.models import s3_backends

    artifact = cast.publish(s3_store, PUBLIC, VERSION)
    (kept,) = s3_backends["123456789012"]["aws"].get_bucket(s3_bucket.name).keys.getlist(f"sha256/{artifact.sha256}")
    kept.value = b"!" + CONTENT[1:]
    return artifact


def test_s3_verify_storage_takes_nobodys_word(rotten: Artifact, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CommandError, match="1 of 1"):
        call_command("verify_storage", "--no-progress")
    assert f"DAMAGED {rotten.sha256} (digest)" in capsys.readouterr().err
    assert Quarantine.objects.get().target == rotten.sha256


def test_s3_the_end_of_a_file_is_held_back_until_all_of_it_is_right(rotten: Artifact, loaded: Cast) -> None:
    from registry.storage import FileDamaged

    host = Host(loaded.acme.key)
    response: Any = host.fetch(host.url(PUBLIC, VERSION))
    pieces: list[bytes] = []
    with pytest.raises(FileDamaged):
        pieces.extend(response)
    assert sum(map(len, pieces)) < len(CONTENT)
    assert Quarantine.objects.get().target == rotten.sha256
    assert OutboxEvent.objects.filter(name="security.alert").count() == 1
