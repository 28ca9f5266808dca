"""One customer never sees, guesses or downloads another's: identifiers of A with credentials of B, on every endpoint.

Two crawls with the same credential, one naming what belongs to somebody else and one naming what nobody has, must
get the same answers: status, headers and body.
"""

from typing import Any

import pytest
from django.http.response import HttpResponseBase

from registry.models import Artifact, RequestedBuild
from registry.services.requested_builds import request_build
from registry.storage import ArtifactStore
from tests.registry import cast
from tests.registry.cast import ACTOR, OTHERS, PREMIUM, PRIVATE, PUBLIC, TARGET, Cast, Host, Member, body_of, json_of

pytestmark = pytest.mark.django_db
VERSION = "2.1.0"
OWN_VERSION = "7.7.7"
_PER_ANSWER = {"X-Request-ID", "Date"}


@pytest.fixture
def world(store: ArtifactStore, loaded: Cast) -> Cast:
    """Everybody has something of their own: private plugins, own builds, builds they wait for."""
    for plugin in (PUBLIC, PREMIUM, PRIVATE, OTHERS):
        cast.publish(store, plugin, VERSION)
    for member in (loaded.acme, loaded.globex, loaded.initech):
        release = cast.draft(
            store,
            PUBLIC,
            f"{OWN_VERSION}-{member.id.replace('_', '')}",
            source=cast.put(store, f"source {member.id}".encode()),
            build_targets=[TARGET],
        )
        cast.publish_release(release=release, actor=ACTOR, now=cast.now(), require_installation=False)
        cast.add(store, release, f"build of {member.id}".encode(), kind=Artifact.Kind.FARM, customer=member.customer)
        request_build(release=release, customer_id=member.id, target="linux/arm64", actor=ACTOR)
    return loaded


def paths(*, customer: str, plugin: str, version: str, request_id: str) -> list[tuple[str, str, Any]]:
    """Every endpoint of the registry with these identifiers."""
    return [
        ("GET", f"/api/registry/plugins/{plugin}", None),
        ("GET", f"/api/registry/plugins/{plugin}/", None),
        ("GET", f"/api/registry/plugins/{plugin}?channel=beta&platform=linux/amd64", None),
        ("GET", f"/api/registry/plugins/{plugin}/releases/{version}", None),
        ("POST", f"/api/registry/plugins/{plugin}/releases/{version}/download", {"os": "linux", "arch": "amd64"}),
        ("POST", f"/api/registry/plugins/{plugin}/releases/{version}/download", {"os": "linux", "arch": "arm64"}),
        ("POST", "/api/registry/updates", {"installed": [{"plugin": plugin, "version": "1.0.0"}]}),
        ("GET", f"/api/registry/requests/{request_id}", None),
        ("GET", f"/private/{customer}", None),
        ("GET", f"/private/{customer}/", None),
        ("HEAD", f"/private/{customer}/", None),
    ]


def answer(response: HttpResponseBase, *names: str) -> tuple[int, dict[str, str], Any]:
    """An answer without what differs between any two; the identifiers themselves are blotted out."""
    headers = {name: value for name, value in response.headers.items() if name not in _PER_ANSWER}
    text = body_of(response).decode()
    for name in names:
        text = text.replace(name, "NAME")
    headers["Content-Length"] = ""
    return response.status_code, headers, _without_request_id(text)


def _without_request_id(text: str) -> str:
    before, _, after = text.partition('"request_id":"')
    return before + after.partition('"')[2] if after else text


CREDENTIALS = ("acme key", "globex key", "globex pat", "initech key", "initech pat")


def test_what_is_anothers_is_answered_like_what_nobody_has(world: Cast) -> None:
    for whose in CREDENTIALS:
        _assert_masked(world, whose)


def _assert_masked(world: Cast, whose: str) -> None:
    name, kind = whose.split()
    visitor = getattr(world, name)
    host = Host(visitor.key if kind == "key" else visitor.pat)
    for owner in (world.acme, world.globex, world.initech):
        if owner is visitor:
            continue
        for plugin in {PRIVATE, OTHERS} - {
            PRIVATE if visitor is world.globex else "",
            OTHERS if visitor is world.initech else "",
        }:
            request_id = RequestedBuild.objects.get(customer=owner.customer).id
            theirs = (owner.id, plugin, VERSION, request_id)
            nobodys = ("nobody_00", "no-such-plugin", "9.9.9", "rqb_" + "0" * 26)
            real = paths(customer=theirs[0], plugin=theirs[1], version=theirs[2], request_id=theirs[3])
            fake = paths(customer=nobodys[0], plugin=nobodys[1], version=nobodys[2], request_id=nobodys[3])
            for (method, path, body), (_, other, other_body) in zip(real, fake, strict=True):
                got = answer(host.send(method, path, body), *theirs)
                expected = answer(host.send(method, other, other_body), *nobodys)
                assert got == expected, (whose, method, path)
                assert got[0] == (200 if "updates" in path else 404), (whose, method, path, got)


def test_the_crawl_would_notice(world: Cast) -> None:
    """With a credential of the owner's the same paths answer otherwise, each of them."""
    request_id = RequestedBuild.objects.get(customer=world.globex.customer).id
    host = Host(world.globex.key)
    owned = paths(customer=world.globex.id, plugin=PRIVATE, version=VERSION, request_id=request_id)
    statuses = [host.send(method, path, body).status_code for method, path, body in owned]
    assert statuses == [200, 200, 200, 200, 200, 404, 200, 202, 200, 200, 200]


def test_lists_show_what_is_ones_own_and_nothing_else(world: Cast) -> None:
    _assert_sees(world, world.acme, {PUBLIC})
    _assert_sees(world, world.globex, {PUBLIC, PREMIUM, PRIVATE})
    _assert_sees(world, world.initech, {PUBLIC, PREMIUM, OTHERS})


def _assert_sees(world: Cast, visitor: Member, expected: set[str]) -> None:
    host = Host(visitor.key)
    listed = json_of(host.get("/api/registry/plugins"))["plugins"]
    assert {entry["name"] for entry in listed} == expected
    for member in (world.acme, world.globex, world.initech):
        version = f"{OWN_VERSION}-{member.id.replace('_', '')}"
        release = json_of(host.get(f"/api/registry/plugins/{PUBLIC}/releases/{version}"))
        assert [artifact["is_own"] for artifact in release["artifacts"]] == ([True] if member is visitor else [])


def test_anothers_build_is_not_handed_out_but_ones_own_is_made(world: Cast) -> None:
    version = f"{OWN_VERSION}-{world.globex.id.replace('_', '')}"
    own = json_of(Host(world.globex.key).ask(PUBLIC, version))
    assert own["sha256"] == cast.sha256(b"build of enterprise_456")
    response = Host(world.initech.key).ask(PUBLIC, version)
    assert (response.status_code, json_of(response)["status"]) == (202, "requested")


def test_a_higher_tiers_plugin_is_not_there_for_a_lower_tier(world: Cast) -> None:
    host = Host(world.acme.key)
    assert host.get(f"/api/registry/plugins/{PREMIUM}").status_code == 404
    assert host.ask(PREMIUM, VERSION).status_code == 404


def test_without_a_good_credential_nothing_is_learned(world: Cast) -> None:
    request_id = RequestedBuild.objects.first().id  # type: ignore[union-attr]
    real = paths(customer=world.globex.id, plugin=PRIVATE, version=VERSION, request_id=request_id)
    fake = paths(customer="nobody_00", plugin="no-such-plugin", version="9.9.9", request_id="rqb_0")
    for credential in ("", "km_live_x", "pat_x", "x.y.z", "pat_" + "0" * 36, "a" * 20_000, "kmop_x"):
        for (method, path, body), (_, other, other_body) in zip(real, fake, strict=True):
            got = answer(Host(credential).send(method, path, body))
            assert got == answer(Host(credential).send(method, other, other_body)), credential
            assert got[0] == 401, credential


def test_a_customer_header_must_be_ones_own(world: Cast) -> None:
    host = Host(world.globex.key)
    for method, path, body in paths(customer=world.globex.id, plugin=PRIVATE, version=VERSION, request_id="rqb_0"):
        assert host.send(method, path, body, X_Customer_ID=world.initech.id).status_code == 403
        assert host.send(method, path, body, X_Customer_ID="nobody_00").status_code == 403
    assert host.get("/api/registry/plugins", X_Customer_ID=world.globex.id).status_code == 200
    assert host.get(f"/api/registry/plugins/{PRIVATE}", X_Plugin_Name=PUBLIC).status_code == 403


TRICKS = ("..", ".", "%2e%2e", "a%2fb", "A", "-", "x" * 65, "a b", "%00", "é", "a%0a", "*", "api-logger%00", ";")


def test_tricks_in_names_name_nothing(world: Cast) -> None:
    host = Host(world.globex.key)
    for name in (
        *TRICKS,
        f"{PUBLIC}%0a",
        f"{PUBLIC}%0d",
        f"{VERSION}%0a",
        "enterprise_456%0a",
        "%2e%2e%2f%2e%2e%2fetc",
    ):
        for path in (
            f"/api/registry/plugins/{name}",
            f"/api/registry/plugins/{name}/releases/{VERSION}",
            f"/api/registry/plugins/{PUBLIC}/releases/{name}",
            f"/api/registry/requests/{name}",
            f"/private/{name}/",
        ):
            assert host.get(path).status_code == 404, path
