"""Taking a source in: what is declared, what is found, what is refused, and that it can be sent again."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from tests.build_farm.services.conftest import now

if TYPE_CHECKING:
    from build_farm.services.publish_source import PublishedSource
    from tests.build_farm.services.conftest import Farm

TOML = """
name = "{name}"
version = "{version}"
targets = ["linux/amd64"]
features = ["{feature}"]
[permissions]
network = {{ fetch = ["api.example.com"] }}
[resources]
timeout_seconds = 20
"""
GO_MOD = "module example.com/x\n\ngo 1.25\n\nrequire keywright.dev/gokit v1.0.0\n"
MAIN = 'package main\n\nimport "os"\n\nfunc main() { os.ReadFile("/etc/hostname") }\n'


def archive(*, name: str = "api-logger", version: str = "3.0.0", feature: str = "api_logging", **files: str) -> bytes:
    buffer = io.BytesIO()
    contents = {
        "keywright.toml": TOML.format(name=name, version=version, feature=feature),
        "go.mod": GO_MOD,
        "main.go": MAIN,
        **files,
    }
    with tarfile.open(fileobj=buffer, mode="w:gz") as packed:
        for path, text in contents.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(text)
            packed.addfile(entry, io.BytesIO(text.encode()))
    return buffer.getvalue()


def publish(farm: Farm, content: bytes, **options: Any) -> PublishedSource:
    from build_farm.services.publish_source import PublishOptions, publish_source
    from licensing.models import Plugin
    from tests.licensing.cast import ACTOR

    return publish_source(
        plugin=Plugin.objects.get(pk="api-logger"),
        chunks=[content],
        options=PublishOptions(**options),
        actor=ACTOR,
        now=now(),
        store=farm.store,
    )


def test_a_release_is_made_whole(farm: Farm) -> None:
    from licensing.models import Plugin, PluginManifest

    published = publish(farm, archive())
    release = published.release
    assert (release.version, release.state, release.build_targets) == ("3.0.0", "published", ["linux/amd64"])
    assert published.source.capabilities == {"filesystem": ["main.go: uses os.ReadFile"]}
    assert published.source.undeclared == ["filesystem"]
    manifest = PluginManifest.objects.get(plugin="api-logger", version="3.0.0").manifest
    assert manifest["short"] == ["network:fetch:api.example.com"]
    assert manifest["limits"]["timeout_seconds"] == 20
    assert Plugin.objects.get(pk="api-logger").installation_required


def test_sent_again_nothing_changes_and_another_source_is_refused(farm: Farm) -> None:
    from registry.errors import VersionExists

    content = archive()
    first = publish(farm, content)
    assert publish(farm, content).release.pk == first.release.pk
    with pytest.raises(VersionExists):
        publish(farm, archive(**{"other.go": "package main\n"}))


def test_the_vendor_may_say_no_to_installations_and_publish_later(farm: Farm) -> None:
    from licensing.models import Plugin

    published = publish(farm, archive(), require_installation=False, is_draft=True)
    assert published.release.state == "draft"
    assert not Plugin.objects.get(pk="api-logger").installation_required


BAD_ARCHIVES: dict[str, tuple[Callable[[], bytes], str]] = {
    "another plugin": (lambda: archive(name="another"), "name: it is another"),
    "unknown feature": (lambda: archive(feature="no_such_feature"), "there is no feature no_such_feature"),
    "own customer_auth.go": (lambda: archive(**{"customer_auth.go": "package main\n"}), "customer_auth.go"),
    "a path that leaves": (lambda: archive(**{"../escape.go": "package main\n"}), "escape.go"),
    "no archive": (lambda: b"not an archive", "archive"),
    "nothing": (lambda: b"", "empty"),
}


@pytest.mark.parametrize("name", BAD_ARCHIVES)
def test_what_cannot_be_taken_is_named_and_leaves_nothing(farm: Farm, name: str) -> None:
    from build_farm.errors import SourceUnacceptable
    from registry.models import Release

    make, words = BAD_ARCHIVES[name]
    with pytest.raises(SourceUnacceptable, match=words):
        publish(farm, make())
    assert Release.objects.count() == 1


@pytest.mark.parametrize("by", ["request", "setting"])
def test_what_is_not_declared_is_refused_where_the_vendor_says_so(farm: Farm, by: str, settings: Any) -> None:
    from build_farm.errors import SourceUnacceptable

    settings.REFUSE_UNDECLARED_CAPABILITIES = by == "setting"
    with pytest.raises(SourceUnacceptable, match=r"filesystem \(main\.go: uses os\.ReadFile\)"):
        publish(farm, archive(), refuse_undeclared=by == "request")


def test_an_archive_over_the_limit_is_refused(farm: Farm, settings: Any) -> None:
    from build_farm.errors import SourceUnacceptable

    settings.SOURCE_MAX_BYTES = 100
    with pytest.raises(SourceUnacceptable, match="larger than 100 bytes"):
        publish(farm, archive())


def test_a_folder_is_packed_the_same_each_time(tmp_path: Any) -> None:
    from build_farm.source_archive import FolderUnfit, pack_folder

    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "config").write_text("secret")
    (tmp_path / "link.go").symlink_to("main.go")
    for name in ("keywright.toml", "main.go"):
        (tmp_path / name).write_text(name)
    packed = []
    for _ in range(2):
        buffer = io.BytesIO()
        assert pack_folder(tmp_path, buffer) == 3
        packed.append(buffer.getvalue())
    assert packed[0] == packed[1]
    with tarfile.open(fileobj=io.BytesIO(packed[0])) as archive:
        assert archive.getnames() == ["keywright.toml", "link.go", "main.go"]
    (tmp_path / "keywright.toml").unlink()
    with pytest.raises(FolderUnfit):
        pack_folder(tmp_path, io.BytesIO())
