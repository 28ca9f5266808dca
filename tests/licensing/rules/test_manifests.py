"""Permission manifests: the seeds' examples, deny over allow, anchored globs, and paths that try to get out."""

import fnmatch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from licensing.rules.manifests import (
    ManifestInvalid,
    is_allowed,
    is_host_allowed,
    is_path_allowed,
    normal_path,
    parse_manifest,
)

LIST_FORM = {
    "permissions": [
        {"resource": "storage", "action": "read", "scope": "all"},
        {"resource": "storage", "action": "write", "scope": "plugin-specific"},
        {"resource": "network", "action": "fetch", "scope": "same-origin"},
        {"resource": "ui", "action": "render", "scope": "modal-only"},
        {"resource": "filesystem", "action": "none", "scope": None},
    ]
}
NESTED_FORM = {
    "permissions": {
        "storage": {"read": True, "write": True},
        "network": {"fetch": True, "webhooks": False},
        "data": {"read": ["user-data"], "write": []},
    }
}
GLOB_FORM = {
    "permissions": [
        {"resource": "cache.*", "actions": ["read", "write"], "effect": "allow"},
        {"resource": "db.*", "actions": ["read"], "effect": "allow"},
        {"resource": "scheduler", "actions": ["*"], "effect": "deny"},
        {"resource": "*", "actions": ["list"], "effect": "allow"},
    ],
    "resources": {
        "timeout_seconds": 30,
        "max_memory_mb": 256,
        "max_disk_mb": 100,
        "rate_limit": {"calls": 50, "period_seconds": 60},
    },
    "filesystem": {"allowed_paths": ["data/"], "denied_paths": ["src/", "../", "data/private"]},
    "network": {"allowed_hosts": ["api.example.com", "*.cdn.example.com"]},
}


@pytest.mark.parametrize(
    ("form", "asked", "expected"),
    [
        (LIST_FORM, ("storage", "read"), True),
        (LIST_FORM, ("storage", "read", "anything"), True),
        (LIST_FORM, ("storage", "write"), True),
        (LIST_FORM, ("storage", "write", "plugin-specific"), True),
        (LIST_FORM, ("storage", "write", "all"), False),
        (LIST_FORM, ("storage", "delete"), False),
        (LIST_FORM, ("filesystem", "read"), False),
        (LIST_FORM, ("unknown", "read"), False),
        (NESTED_FORM, ("storage", "write"), True),
        (NESTED_FORM, ("network", "webhooks"), False),
        (NESTED_FORM, ("data", "read", "user-data"), True),
        (NESTED_FORM, ("data", "read", "other"), False),
        (NESTED_FORM, ("data", "write", "user-data"), False),
        (GLOB_FORM, ("cache.sessions", "write"), True),
        (GLOB_FORM, ("cache", "write"), False),
        (GLOB_FORM, ("xcache.sessions", "write"), False),
        (GLOB_FORM, ("db.users", "write"), False),
        (GLOB_FORM, ("scheduler", "list"), False),
        (GLOB_FORM, ("anything", "list"), True),
        (GLOB_FORM, ("cache.a\nb", "read"), True),
    ],
)
def test_the_seeds_examples(form, asked, expected):
    assert is_allowed(parse_manifest(form), *asked) is expected


def test_the_canonical_form_and_its_short_list():
    manifest = parse_manifest(GLOB_FORM)
    assert manifest["limits"] == GLOB_FORM["resources"]
    assert manifest["filesystem"] == {"allowed_paths": ["data"], "denied_paths": ["src", "data/private"]}
    assert manifest["short"] == [
        "cache.*:read",
        "cache.*:write",
        "db.*:read",
        "!scheduler:*",
        "*:list",
    ]
    assert parse_manifest(manifest) == manifest
    assert parse_manifest({})["short"] == []


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("data/a.txt", True),
        ("data", True),
        ("./data//a", True),
        ("data/../data/a", True),
        ("database/a", False),
        ("data/../src/a", False),
        ("data/../../etc/passwd", False),
        ("data/private", False),
        ("data/x/../private/key", False),
        ("data\\..\\src\\a", False),
        ("/data/a", False),
        ("C:/data", False),
        ("..", False),
        ("data/\x00", False),
        ("", False),
    ],
)
def test_paths(path, expected):
    assert is_path_allowed(parse_manifest(GLOB_FORM), path) is expected


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("api.example.com", True),
        ("API.example.com.", True),
        ("api.example.com.evil.org", False),
        ("evil-api.example.com", False),
        ("a.cdn.example.com", True),
        ("cdn.example.com", False),
        ("*.cdn.example.com", False),
        ("acdn.example.com", False),
        ("", False),
    ],
)
def test_hosts(host, expected):
    assert is_host_allowed(parse_manifest(GLOB_FORM), host) is expected


def test_lists_speak_with_permissions():
    manifest = parse_manifest(
        {
            "permissions": {"filesystem": {"read": True}, "network": {"fetch": True}},
            "filesystem": {"allowed_paths": ["data"]},
            "network": {"allowed_domains": ["a.example"]},
        }
    )
    assert is_allowed(manifest, "filesystem", "read", "data/x")
    assert not is_allowed(manifest, "filesystem", "read", "src/x")
    assert not is_allowed(manifest, "filesystem", "write", "data/x")
    assert is_allowed(manifest, "network", "fetch", "a.example")
    assert not is_allowed(manifest, "network", "fetch", "b.example")


@pytest.mark.parametrize(
    ("written", "field"),
    [
        ({"permission": []}, "permission"),
        ({"permissions": "all"}, "permissions"),
        ({"permissions": [3]}, "permissions[0]"),
        ({"permissions": [{"resource": "a"}]}, "permissions[0].action"),
        ({"permissions": [{"resource": "a", "action": "b", "actions": ["b"]}]}, "permissions[0].action"),
        ({"permissions": [{"resource": "a", "actions": []}]}, "permissions[0].actions"),
        ({"permissions": [{"resource": "a", "actions": ["b", 1]}]}, "permissions[0].actions[1]"),
        ({"permissions": [{"resource": "a b", "action": "b"}]}, "permissions[0].resource"),
        ({"permissions": [{"resource": "a", "action": "b", "effect": "maybe"}]}, "permissions[0].effect"),
        ({"permissions": [{"resource": "a", "action": "b", "scope": 1}]}, "permissions[0].scope"),
        ({"permissions": [{"resource": "a", "action": "b", "scop": "x"}]}, "permissions[0].scop"),
        ({"permissions": {"a": True}}, "permissions.a"),
        ({"permissions": {"a": {"b": "yes"}}}, "permissions.a.b"),
        ({"permissions": {"a": {"b": [None]}}}, "permissions.a.b[0]"),
        ({"resources": {"timeout_seconds": 0}}, "resources.timeout_seconds"),
        ({"resources": {"max_memory_mb": True}}, "resources.max_memory_mb"),
        ({"limits": {"rate_limit": {"calls": 1}}}, "limits.rate_limit.period_seconds"),
        ({"limits": {}, "resources": {}}, "limits"),
        ({"filesystem": {"allowed_paths": ["../up"]}}, "filesystem.allowed_paths[0]"),
        ({"filesystem": {"denied_paths": ["../up"]}}, "filesystem.denied_paths[0]"),
        ({"network": {"allowed_hosts": ["http://x"]}}, "network.allowed_hosts[0]"),
        ({"network": []}, "network"),
    ],
)
def test_what_cannot_be_read_is_named(written, field):
    with pytest.raises(ManifestInvalid) as caught:
        parse_manifest(written)
    assert caught.value.field == field


names = st.sampled_from(["a", "b", "a.b", "a.*", "*"])
entries = st.fixed_dictionaries(
    {"resource": names, "action": names, "effect": st.sampled_from(["allow", "deny"])},
    optional={"scope": st.sampled_from(["s", "t", "all", "s*"])},
)


@given(st.lists(entries, max_size=6), names, names, st.sampled_from([None, "s", "t", "st"]))
def test_adding_a_denial_never_allows_and_order_never_matters(listed, resource, action, scope):
    allowed = is_allowed(parse_manifest({"permissions": listed}), resource, action, scope)
    assert is_allowed(parse_manifest({"permissions": listed[::-1]}), resource, action, scope) is allowed
    denied = [*listed, {"resource": resource, "action": action, "effect": "deny"}]
    assert not is_allowed(parse_manifest({"permissions": denied}), resource, action, scope)


@given(st.lists(st.sampled_from(["..", ".", "data", "src", "", "a"]), max_size=8))
def test_a_normal_path_never_leaves_and_is_normal(parts):
    normal = normal_path("/".join(parts))
    if normal is not None:
        assert ".." not in normal.split("/")
        assert normal_path(normal) == normal


@given(st.text("ab*", max_size=12), st.text("ab", max_size=12))
def test_globs_are_those_of_the_standard_library(pattern, text):
    manifest = parse_manifest({"permissions": [{"resource": "r", "action": "a", "scope": f"x{pattern}"}]})
    assert is_allowed(manifest, "r", "a", f"x{text}") is fnmatch.fnmatchcase(f"x{text}", f"x{pattern}")


def test_a_glob_of_many_stars_takes_no_time():
    manifest = parse_manifest({"permissions": [{"resource": "r", "action": "a", "scope": "a*" * 99 + "b"}]})
    assert not is_allowed(manifest, "r", "a", "a" * 100_000)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.fixed_dictionaries(
        {}, optional=dict.fromkeys(("permissions", "resources", "filesystem", "network", "other"), json_values)
    )
)
def test_anything_is_read_or_refused_as_a_manifest(written):
    try:
        manifest = parse_manifest(written)
    except ManifestInvalid:
        return
    assert parse_manifest(manifest) == manifest
