"""keywright.toml: what is read, and which field is named when it is wrong."""

from pathlib import PurePosixPath

import pytest

from build_farm.sources import ManifestRefused, Permission, parse_manifest

GOOD = """
name = "api-logger"
version = "1.2.3-beta.1"
package = "./cmd/api-logger"
targets = ["linux/amd64", "windows/arm64"]
features = ["console_logging", "api_logging"]
tier = "Pro"

[[permissions]]
resource = "network"
actions = ["fetch", "listen"]
scope = "same-origin"

[[permissions]]
resource = "db.*"
action = "*"
effect = "deny"

[resources]
timeout_seconds = 30
rate_limit = { calls = 50, period_seconds = 60 }
"""
LEAST = 'name = "x"\nversion = "1.0.0"\ntargets = ["linux/amd64"]\n'


def test_a_full_manifest() -> None:
    manifest = parse_manifest(GOOD.encode())
    assert (manifest.name, manifest.version, manifest.tier) == ("api-logger", "1.2.3-beta.1", "Pro")
    assert manifest.package == PurePosixPath("cmd/api-logger")
    assert manifest.targets == ("linux/amd64", "windows/arm64")
    assert manifest.features == ("console_logging", "api_logging")
    assert manifest.permissions == (
        Permission("network", ("fetch", "listen"), "same-origin", "allow"),
        Permission("db.*", ("*",), None, "deny"),
    )
    assert dict(manifest.resources) == {"timeout_seconds": 30, "rate_limit.calls": 50, "rate_limit.period_seconds": 60}


def test_the_least_manifest() -> None:
    manifest = parse_manifest(LEAST.encode())
    assert manifest.package == PurePosixPath(".")
    assert manifest.permissions == ()
    assert manifest.tier is None


def test_permissions_as_flags() -> None:
    raw = LEAST + '[permissions.storage]\nread = true\nwrite = false\n[permissions.data]\nread = ["user-data"]\n'
    manifest = parse_manifest(raw.encode())
    assert {name: dict(flags) for name, flags in manifest.permission_flags.items()} == {
        "storage": {"read": True, "write": False},
        "data": {"read": ("user-data",)},
    }


WRONG = [
    ('name = "x"\n', "", "name"),
    ('name = "x"', 'name = "Api Logger"', "name"),
    ('name = "x"', 'name = "a--b"', "name"),
    ('name = "x"', "name = 7", "name"),
    ('version = "1.0.0"', 'version = "1.0"', "version"),
    ('version = "1.0.0"', 'version = "v1.0.0"', "version"),
    ('version = "1.0.0"', 'version = "01.0.0"', "version"),
    ('targets = ["linux/amd64"]', "", "targets"),
    ('targets = ["linux/amd64"]', "targets = []", "targets"),
    ('targets = ["linux/amd64"]', 'targets = ["linux/amd64", "plan9/amd64"]', "targets[1]"),
    ('targets = ["linux/amd64"]', 'targets = ["linux/amd64", "linux/amd64"]', "targets[1]"),
    ('targets = ["linux/amd64"]', 'targets = "linux/amd64"', "targets"),
    ("name", 'package = "../outside"\nname', "package"),
    ("name", 'package = "/etc"\nname', "package"),
    ("name", 'package = "./-flag"\nname', "package"),
    ("name", 'package = "vendor/x"\nname', "package"),
    ("name", 'features = ["Not A Code"]\nname', "features[0]"),
    ("name", "surprise = 1\nname", "surprise"),
    ("name", "permissions = 5\nname", "permissions"),
    ("name", 'permissions = [{ resource = "a" }]\nname', "permissions[0]"),
    ("name", 'permissions = [{ resource = "a", action = "b", actions = ["c"] }]\nname', "permissions[0]"),
    ("name", 'permissions = [{ action = "b" }]\nname', "permissions[0].resource"),
    ("name", 'permissions = [{ resource = "a", action = "b", effect = "maybe" }]\nname', "permissions[0].effect"),
    ("name", 'permissions = [{ resource = "a", action = "b", more = 1 }]\nname', "permissions[0].more"),
    ("name", 'permissions = [{ resource = "a b", action = "b" }]\nname', "permissions[0].resource"),
    ("name", "permissions = { storage = true }\nname", "permissions.storage"),
    ("name", "permissions = { storage = { read = 1 } }\nname", "permissions.storage.read"),
    ("name", "resources = { max_memory_mb = 0 }\nname", "resources.max_memory_mb"),
    ("name", "resources = { max_memory_mb = true }\nname", "resources.max_memory_mb"),
    ("name", "resources = { gpus = 1 }\nname", "resources.gpus"),
    ("name", "resources = { rate_limit = { calls = 1 } }\nname", "resources.rate_limit"),
]


@pytest.mark.parametrize(("old", "new", "field"), WRONG, ids=[f"{field}-{n}" for n, (_, _, field) in enumerate(WRONG)])
def test_a_wrong_field_is_named(old: str, new: str, field: str) -> None:
    assert parse_manifest(LEAST.encode())
    with pytest.raises(ManifestRefused) as refusal:
        parse_manifest(LEAST.replace(old, new, 1).encode())
    assert refusal.value.field == field


@pytest.mark.parametrize(
    "raw", [b"name = ", b"\xff\xfe", b"a = " + b"[" * 5000, b"# " + b"x" * 70_000], ids=["cut", "bytes", "deep", "long"]
)
def test_what_is_no_toml_is_refused(raw: bytes) -> None:
    with pytest.raises(ManifestRefused):
        parse_manifest(raw)
