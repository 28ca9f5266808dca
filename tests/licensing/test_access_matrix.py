"""Every endpoint × every credential × another customer, made from the URL table: a new endpoint cannot escape.

Each area of the table has one promise. A URL that belongs to no area fails, and so does an operation whose path names
a thing that the cast below does not have.
"""

import json
import re
from dataclasses import dataclass

import pytest
from django.db import transaction
from django.urls import URLPattern, URLResolver, get_resolver
from rest_framework.views import APIView

from accounts.models import ApiKey, Customer, Membership, Role, User
from accounts.services.api_keys import issue_api_key
from accounts.services.invitations import invite_member
from accounts.services.operators import issue_operator_key
from licensing.core.actor import system
from licensing.core.api.routes import DOCUMENTED
from licensing.core.api.schema import simple_path
from licensing.models import Feature, Installation, Plugin, PluginManifest
from licensing.rules.manifests import parse_manifest
from licensing.services.entitlements import set_override
from licensing.services.key_lifecycle import bootstrap
from licensing.services.quarantines import quarantine
from tests import cast
from tests.cast import NOW

# Areas with a matrix of their own, and where it is.
# Things that are made above this app: their own tests say who sees them; here it is asked who gets in at all.
ELSEWHERE = (
    "/api/registry",
    "/private",
    "/api/builds",
    "/api/manage/builds",
    "/api/manage/registry",
    "/api/manage/plugins/{plugin}/releases",
    "/api/manage/plugins/{plugin}/channels",
    "/api/manage/customers/{customer_id}/registry-tokens",
    "/api/manage/customers/{customer_id}/registry-policy",
    "/api/account/registry",
)
ELSEWHERE_THINGS = dict.fromkeys(
    ("target", "channel", "token_id", "build_id", "release", "version", "batch", "request_id"), "stable"
)
PLAIN = {
    "plugin-authenticate": "key",
    "plugin-validate": "token",
    "plugin-refresh": "token",
    "plugin-deactivate": "token",
    "plugin-usage": "token",
    "plugin-report": "key or token",
    **dict.fromkeys(
        ("jwks", "discovery", "key-set", "authority", "livez", "readyz", "schema", "docs", "docs-asset", "metrics"),
        "public",
    ),
}
pytestmark = pytest.mark.django_db
METHODS = ("get", "post", "put", "patch", "delete")


@dataclass(frozen=True)
class Endpoint:
    """One method of one URL."""

    method: str
    path: str
    action: str
    name: str

    def __str__(self) -> str:
        return f"{self.method.upper()} {self.path}"


def patterns(resolver=None):
    for entry in (resolver or get_resolver()).url_patterns:
        if isinstance(entry, URLResolver):
            continue  # pages, which have a matrix of their own in tests/accounts/portal
        yield entry


def path_of(pattern: URLPattern) -> str:
    regex = str(pattern.pattern)
    return DOCUMENTED.get(regex) or simple_path(regex)


def operations() -> list[Endpoint]:
    found = []
    for pattern in patterns():
        view = getattr(pattern.callback, "cls", None)
        if view is None or not issubclass(view, APIView):
            continue
        for method in METHODS:
            declared = getattr(getattr(view, method, None), "operation", None)
            if declared is not None:
                found.append(Endpoint(method, path_of(pattern), declared.action, pattern.name))
    return found


def area(path: str) -> str:
    if path.startswith("/api/account/"):
        return "account"
    if path.startswith(("/api/manage/", "/api/plugins/quarantine/")):
        return "manage"
    return ""


def is_elsewhere(path: str) -> bool:
    return path.startswith(ELSEWHERE)


ALL = operations()
MANAGE = [each for each in ALL if area(each.path) == "manage"]
SHARED = [
    each for each in MANAGE if each.path.count("{") > 1 and "{customer_id}" in each.path and not is_elsewhere(each.path)
]
ACCOUNT = [each for each in ALL if area(each.path) == "account"]


@dataclass
class World:
    """Two customers with one of each thing, and everybody's credentials."""

    mine: dict[str, str]
    theirs: dict[str, str]
    credentials: dict[str, cast.Api]


def things_of(owner: Customer) -> dict[str, str]:
    key = issue_api_key(customer=owner, name="x", actor=cast.ACTOR).api_key
    installation = Installation.objects.create(
        id=f"inst_{owner.pk}", customer=owner, plugin_id="api-logger", fingerprint="machine-one"
    )
    user = User.objects.create_user(f"{owner.pk}@example.com")
    Membership.objects.create(user=user, customer=owner, role=Role.VIEWER)
    feature = Feature.objects.get(pk="support_level")
    override = set_override(customer=owner, feature=feature, value="x", actor=cast.ACTOR)
    email = f"new-{owner.pk}@example.com"
    invitation = invite_member(customer=owner, email=email, role="viewer", actor=cast.ACTOR, now=NOW)
    entry, _ = quarantine(
        plugin=Plugin.objects.get(pk="analytics"),
        scope="version",
        target=f"1.0.0+{owner.pk.replace('_', '')}",
        reason="",
        actor=cast.ACTOR,
        now=NOW,
    )
    return {
        "customer_id": owner.pk,
        "key_id": key.id,
        "installation_id": installation.id,
        "member_id": str(user.pk),
        "invitation_id": invitation.id,
        "entitlement_id": override.id,
        "quarantine_id": entry.id,
        "plugin": "analytics",
        "version": "1.0.0",
        "code": "support_level",
        "name": "Free",
    }


@pytest.fixture(scope="module")
def world(django_db_setup, django_db_blocker):
    """Made once; each test's own transaction lies within, and is rolled back."""
    with django_db_blocker.unblock(), transaction.atomic():
        yield make_world()
        transaction.set_rollback(True)


def make_world() -> World:
    cast.catalogue()
    bootstrap(actor=system("tests"), now=NOW)
    PluginManifest.objects.create(plugin_id="analytics", version="1.0.0", manifest=parse_manifest({}))
    owners = [cast.customer(name) for name in ("acme_1", "globex_1")]
    for owner in owners:
        cast.subscribe(owner)
    mine, theirs = (things_of(owner) for owner in owners)
    _, boss = cast.operator()
    clerk_user, clerk = cast.operator("clerk@vendor.example", is_superuser=False)
    mine |= {"operator_id": str(clerk_user.pk)}
    keys = {"boss": boss, "clerk": clerk, "customer": cast.key_of(owners[0]), "other customer": cast.key_of(owners[1])}
    keys["customer without scopes"] = cast.key_of(owners[0], scopes=["plugins:authenticate"])
    asked = {"plugin_name": "api-logger", "plugin_version": "1.0.0", "customer_id": "acme_1"}
    token = json.loads(keys["customer"].post("/api/plugins/authenticate", asked).content)["token"]
    keys |= {"none": cast.Api(), "bad": cast.Api("kmop_" + "0" * 36), "plugin token": cast.Api(token)}
    mine["operator_key_id"] = issue_operator_key(user=clerk_user, name="x", actor=cast.ACTOR).operator_key.id
    return World(mine, theirs, keys)


def url(path: str, things: dict[str, str]) -> str:
    """The path with its parameters filled; one that the cast does not have fails the test."""
    if "/operators/" in path:
        things = things | {"key_id": things.get("operator_key_id", "opk_none")}
    others = {} if not is_elsewhere(path) else ELSEWHERE_THINGS
    return re.sub(r"{(\w+)}", lambda found: (others | things)[found[1]], path)


def send(client: cast.Api, endpoint: Endpoint, path: str):
    return client(endpoint.method.upper(), path, {} if endpoint.method in ("post", "put", "patch") else None)


def same(one, other) -> bool:
    """Whether two answers are the same but for what DESIGN §5 lets differ."""

    def kept(response):
        headers = {name: value for name, value in response.headers.items() if name not in ("X-Request-ID", "Date")}
        return response.status_code, headers, {**json.loads(response.content or b"{}"), "request_id": ""}

    return kept(one) == kept(other)


def test_every_url_belongs_to_an_area():
    unknown = [
        f"{pattern.name}: {path_of(pattern)}"
        for pattern in patterns()
        if path_of(pattern).startswith(("/api", "/.well-known", "/livez", "/readyz", "/metrics", "/private"))
        and not (area(path_of(pattern)) or pattern.name in PLAIN or is_elsewhere(path_of(pattern)))
    ]
    assert unknown == []
    assert len(MANAGE) > 60
    assert len(ACCOUNT) > 15


@pytest.mark.parametrize("endpoint", MANAGE, ids=str)
def test_the_management_api_is_for_operators_alone(world, endpoint):
    path, missing = url(endpoint.path, world.mine), url(endpoint.path, dict.fromkeys(world.mine, "none_1"))
    for who in ("none", "bad", "customer", "other customer", "plugin token"):
        response = send(world.credentials[who], endpoint, path)
        assert response.status_code == 401, who
        assert response["WWW-Authenticate"].startswith("Bearer")
        assert same(response, send(world.credentials[who], endpoint, missing)), f"{who} learns what is there"
    if is_elsewhere(endpoint.path):
        return
    allowed = send(world.credentials["boss"], endpoint, path)
    assert allowed.status_code in (200, 201, 204, 400, 409, 503), allowed.content
    assert send(world.credentials["boss"], endpoint, f"{path}/none".replace("//", "/")).status_code in (404, 405)


@pytest.mark.parametrize("endpoint", MANAGE, ids=str)
def test_an_operator_who_is_no_superuser_is_refused_what_only_they_may(world, endpoint):
    status = send(world.credentials["clerk"], endpoint, url(endpoint.path, world.mine)).status_code
    is_reserved = endpoint.action in ("manage.operators.write", "manage.signing_keys.write")
    assert (status == 403) is is_reserved


@pytest.mark.parametrize("endpoint", SHARED, ids=str)
def test_one_customers_thing_is_not_another_customers(world, endpoint):
    last = re.findall(r"{(\w+)}", endpoint.path)[-1]
    boss = world.credentials["boss"]
    anothers = send(boss, endpoint, url(endpoint.path, world.mine | {last: world.theirs[last]}))
    missing = send(boss, endpoint, url(endpoint.path, world.mine | {last: "999999"}))
    if anothers.status_code == 400:  # a body is read before anything is looked up
        assert missing.status_code == 400
    else:
        assert anothers.status_code == 404
        assert same(anothers, missing)


@pytest.mark.parametrize("endpoint", ACCOUNT, ids=str)
def test_the_account_api_is_for_the_customer_alone(world, endpoint):
    path = url(endpoint.path, world.mine)
    for who in ("none", "bad", "boss", "plugin token"):
        assert send(world.credentials[who], endpoint, path).status_code == 401, who
    assert send(world.credentials["customer without scopes"], endpoint, path).status_code == 403
    if is_elsewhere(endpoint.path):
        return
    if "{" in endpoint.path:
        other = world.credentials["other customer"]
        anothers = send(other, endpoint, path)
        missing = send(other, endpoint, url(endpoint.path, dict.fromkeys(world.mine, "999999")))
        assert same(anothers, missing), f"{anothers.content!r} {missing.content!r}"
        assert anothers.status_code in (400, 403, 404)
    own = send(world.credentials["customer"], endpoint, path)
    assert own.status_code in (200, 201, 204, 400, 403, 409), own.content
    if endpoint.method == "get":
        assert own.status_code == 200
    assert ApiKey.objects.filter(customer_id="globex_1", revoked_at=None).exists()


@pytest.mark.parametrize(("name", "kind"), PLAIN.items(), ids=PLAIN)
def test_plain_views_take_what_they_say(world, name, kind):
    path = next(path_of(pattern) for pattern in patterns() if pattern.name == name).replace("{name}", "start.js")
    if kind == "public":
        assert world.credentials["none"].get(path).status_code in (200, 503)
        assert world.credentials["none"].post(path, {}).status_code == 405
        return
    body = {"plugin_name": "api-logger", "plugin_version": "1", "customer_id": "acme_1", "type": "x"}
    for who in ("none", "boss", "bad"):
        client = world.credentials[who]
        sent = body | {"plugin_token": client.credential, "batch_id": "batch-0001", "events": [{"feature": "a"}]}
        response = client.post(path, sent)
        if name == "plugin-validate" and who != "none":
            assert json.loads(response.content) == {
                "valid": False,
                "code": "TOKEN_INVALID",
                "detail": json.loads(response.content)["detail"],
            }
        else:
            assert response.status_code == 401, (who, response.content)
