"""Every identifier of one customer, with every credential of another, on every endpoint that the URL table knows.

Nothing here lists endpoints: a new one is crawled as soon as it has a URL, and one with a parameter that the crawler
cannot fill fails the test until somebody says what to try.
"""

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from django.urls import URLPattern

from build_farm.api.urls import urlpatterns as build_farm_urls
from build_farm.models import Build
from licensing.core.api.routes import DOCUMENTED
from licensing.models import BuildCredential, Installation
from licensing.services.key_lifecycle import bootstrap
from registry.api.urls import file_patterns
from registry.api.urls import urlpatterns as registry_urls
from registry.models import Artifact, DownloadGrant
from registry.services.requested_builds import request_build
from registry.storage import ArtifactStore
from tests.registry import cast
from tests.registry.cast import ACTOR, OTHERS, PREMIUM, PRIVATE, PUBLIC, TARGET, Cast, Host, Member, body_of, json_of

pytestmark = pytest.mark.django_db
VERSION = "2.1.0"
THEIR_VERSION = "6.5.4"
_PARAMETER = re.compile(r"\{([a-z_]+)\}")
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
_PATHS_OF_PLAIN_PATTERNS = {"registry-file": "/files/{segment}", "private-registry": "/private/{customer_id}"}
_BODIES: dict[str, Any] = {
    "registry-download": {"os": "linux", "arch": "amd64"},
    "registry-updates": {"installed": [{"plugin": OTHERS, "version": "1.0.0"}, {"plugin": PREMIUM, "version": "1"}]},
    "builds": {"plugin": OTHERS, "version": THEIR_VERSION, "target": TARGET},
}


@dataclass(frozen=True)
class Endpoint:
    """One URL of the table, and a method that it speaks."""

    name: str
    method: str
    path: str

    @property
    def parameters(self) -> list[str]:
        return _PARAMETER.findall(self.path)


def endpoints() -> Iterator[Endpoint]:
    for pattern in (*registry_urls, *file_patterns, *build_farm_urls):
        assert isinstance(pattern, URLPattern)
        name = str(pattern.name)
        path = DOCUMENTED.get(str(pattern.pattern)) or _PATHS_OF_PLAIN_PATTERNS[name]
        view = getattr(pattern.callback, "view_class", None) or getattr(pattern.callback, "cls", None)
        for method in _METHODS:
            speaks = view is None or hasattr(view, method.lower()) or (method == "HEAD" and hasattr(view, "get"))
            if speaks and not (view is None and method not in ("GET", "HEAD")):
                yield Endpoint(name, method, path)


ENDPOINTS = list(endpoints())


@dataclass(frozen=True)
class World:
    """`globex` asks; `initech` owns. Each has a private plugin, a build of its own, one it waits for, and tokens."""

    cast: Cast
    credentials: dict[str, str]
    theirs: dict[str, list[str]]
    """What of the owner's can stand for a parameter."""
    secrets: tuple[str, ...]
    """What of the owner's no answer to anybody else may hold."""


@pytest.fixture
def world(store: ArtifactStore, loaded: Cast) -> World:
    bootstrap(actor=ACTOR, now=cast.now())
    for plugin in (PUBLIC, PREMIUM, PRIVATE):
        cast.publish(store, plugin, VERSION)
    owner, visitor = loaded.initech, loaded.globex
    release = cast.draft(
        store, OTHERS, THEIR_VERSION, source=cast.put(store, b"their source"), build_targets=[TARGET, "linux/arm64"]
    )
    cast.publish_release(release=release, actor=ACTOR, now=cast.now(), require_installation=False)
    build = Build.objects.create(
        id="bld_theirs", release=release, customer=owner.customer, target=TARGET, created_by="tests"
    )
    BuildCredential.objects.create(
        id=build.id,
        customer=owner.customer,
        plugin_id=OTHERS,
        version=THEIR_VERSION,
        target=TARGET,
        signature_digest=b"d" * 32,
        sealed_secret=b"sealed",
    )
    artifact = cast.add(
        store, release, b"their own build", kind=Artifact.Kind.FARM, customer=owner.customer, build_id=build.id
    )
    waiting = request_build(release=release, customer_id=owner.id, target="linux/arm64", actor=ACTOR)
    Host(owner.key).url(OTHERS, THEIR_VERSION)
    assert owner.registry_token is not None
    plugin_token(owner)
    theirs = {
        "customer_id": [owner.id],
        "plugin": [OTHERS],
        "version": [THEIR_VERSION],
        "request_id": [waiting.id],
        "token_id": [owner.registry_token.id],
        "build_id": [build.id],
        "segment": [artifact.sha256, artifact.id, DownloadGrant.objects.get(customer=owner.customer).id],
        "target": ["linux-amd64"],
        "channel": ["stable"],
        "batch": ["no-batch"],
    }
    everything = {each for found in theirs.values() for each in found}
    everything |= {artifact.sha256, release.id, owner.api_key.id, Installation.objects.get(customer=owner.customer).id}
    secrets = tuple(sorted(everything - {"linux-amd64", "stable", "no-batch"}))
    credentials = {
        "key": visitor.key,
        "registry token": visitor.pat,
        "plugin token": plugin_token(visitor),
        "key of a lower tier": loaded.acme.key,
        "none": "",
    }
    return World(loaded, credentials, theirs, secrets)


def plugin_token(member: Member) -> str:
    body = {
        "plugin_name": PUBLIC,
        "plugin_version": VERSION,
        "customer_id": member.id,
        "installation": {"fingerprint": f"machine-of-{member.id}"},
    }
    token: str = json_of(Host(member.key).send("POST", "/api/plugins/authenticate", body))["token"]
    return token


OWN = {
    "customer_id": "enterprise_456",
    "plugin": PRIVATE,
    "version": VERSION,
    "request_id": "rqb_own",
    "token_id": "pat_own",
    "build_id": "bld_own",
    "segment": "own",
    "target": "linux-amd64",
    "channel": "stable",
    "batch": "own",
}
NOBODYS = {
    "customer_id": "nobody_1",
    "plugin": "no-such-plugin",
    "version": "3.2.1",
    "request_id": "rqb_nobodys",
    "token_id": "pat_nobodys",
    "build_id": "bld_nobodys",
    "segment": "nobodys",
    "target": "linux-amd64",
    "channel": "stable",
    "batch": "nobodys",
}


def fillings(endpoint: Endpoint, theirs: dict[str, list[str]]) -> Iterator[tuple[dict[str, str], dict[str, str]]]:
    """Theirs in any of the parameters and one's own in the rest; and the same with nobody's for theirs."""
    names = endpoint.parameters
    for count in range(1, len(names) + 1):
        for chosen in itertools.combinations(names, count):
            for values in itertools.product(*(theirs[name] for name in chosen)):
                rest = {name: OWN[name] for name in names if name not in chosen}
                yield rest | dict(zip(chosen, values, strict=True)), rest | {name: NOBODYS[name] for name in chosen}


def asked(host: Host, endpoint: Endpoint, values: dict[str, str]) -> tuple[int, dict[str, str], str]:
    """An answer without what differs between any two, and with the names that were asked for blotted out."""
    body = _BODIES.get(endpoint.name, {}) if endpoint.method in ("POST", "PUT", "PATCH") else None
    response = host.send(endpoint.method, endpoint.path.format(**values), body)
    headers = {
        name: value
        for name, value in response.headers.items()
        if name not in ("X-Request-ID", "Date", "Content-Length", "ETag")
    }
    text = re.sub(r'"request_id":"req_[^"]*"', "", body_of(response).decode())
    for value in sorted(values.values(), key=len, reverse=True):
        text = text.replace(value, "NAME")
        headers = {name: said.replace(value, "NAME") for name, said in headers.items()}
    return response.status_code, headers, text


def test_the_table_is_crawled_whole() -> None:
    assert len({endpoint.name for endpoint in ENDPOINTS}) >= 30
    for endpoint in ENDPOINTS:
        assert set(endpoint.parameters) <= OWN.keys() == NOBODYS.keys(), endpoint


def test_what_is_anothers_is_answered_like_what_nobody_has(world: World) -> None:
    tried = 0
    for whose, credential in world.credentials.items():
        host = Host(credential)
        for endpoint in ENDPOINTS:
            for real, nobodys in fillings(endpoint, world.theirs):
                got = asked(host, endpoint, real)
                assert got == asked(host, endpoint, nobodys), (whose, endpoint, real)
                assert 400 <= got[0] < 500, (whose, endpoint, real, got)
                assert not any(secret in got[2] for secret in world.secrets), (whose, endpoint, real)
                tried += 1
    assert tried > 400


def test_no_list_and_nothing_of_ones_own_tells_of_another(world: World) -> None:
    for whose, credential in world.credentials.items():
        host = Host(credential)
        for endpoint in ENDPOINTS:
            status, headers, text = asked(host, endpoint, {name: OWN[name] for name in endpoint.parameters})
            named = str(_BODIES.get(endpoint.name, ""))  # an update echoes what was asked
            told = [secret for secret in world.secrets if secret in text + str(headers) and secret not in named]
            assert told == [], (whose, endpoint, status)


def test_the_crawler_would_notice(world: World) -> None:
    """The owner itself is answered otherwise where it may ask at all."""
    host, good = Host(world.cast.initech.key), set()
    for endpoint in ENDPOINTS:
        if endpoint.method == "GET" and endpoint.parameters:
            theirs = {name: world.theirs[name][0] for name in endpoint.parameters}
            status, _, _ = asked(host, endpoint, theirs)
            if status in (200, 202):
                good.add(endpoint.name)
    assert good >= {
        "registry-plugin",
        "registry-release",
        "registry-request",
        "private-registry",
        "account-registry-token",
        "build",
    }
