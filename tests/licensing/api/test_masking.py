"""One customer's things are, to another, indistinguishable from things that do not exist (DESIGN §5).

Compared is the whole response: status, every header, the body; but for `X-Request-ID`, `Date` and `RateLimit-*`.
"""

import secrets
from collections.abc import Callable
from typing import Any

import pytest
from django.http import HttpResponse

from licensing.crypto.keys import generate_key
from licensing.models import Plugin, PluginAccess
from tests.licensing.api.driver import MACHINE, PluginApi, answer, asked, code_of
from tests.licensing.cast import VERSION, Cast, make_build, quarantine, subscribe

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("clock", "empty_valkey")]

PRIVATE = "custom-compliance-reporter"
MISSING = "custom-compliance-inventor"


def seen(response: HttpResponse) -> tuple[int, dict[str, str], bytes]:
    """All that a caller can tell one response from another by."""
    own_id = response["X-Request-ID"]
    headers = {
        name.lower(): value
        for name, value in response.headers.items()
        if name.lower() not in ("x-request-id", "date") and not name.lower().startswith("ratelimit-")
    }
    return response.status_code, headers, response.content.replace(own_id.encode(), b"ID")


def assert_alike(hidden: HttpResponse, missing: HttpResponse, code: str) -> None:
    assert code_of(hidden) == code
    assert seen(hidden) == seen(missing)


# Name: what the request for the hidden thing differs in, and the one for the missing thing; the code of both.
CASES: dict[str, tuple[Callable[[Cast], dict[str, Any]], dict[str, Any], str]] = {
    "a private plugin": (lambda _: {"plugin_name": PRIVATE}, {"plugin_name": MISSING}, "PLUGIN_UNKNOWN"),
    "a private plugin, with a signature": (
        lambda _: {"plugin_name": PRIVATE, "plugin_signature": "ab" * 384},
        {"plugin_name": MISSING, "plugin_signature": "ab" * 384},
        "PLUGIN_UNKNOWN",
    ),
    "a private plugin, with its owner's build's signature": (
        lambda cast: {
            "plugin_name": PRIVATE,
            "plugin_signature": make_build(cast.globex.customer, plugin=PRIVATE).signature.hex(),
        },
        {"plugin_name": MISSING, "plugin_signature": "ab" * 384},
        "PLUGIN_UNKNOWN",
    ),
    "a private plugin and a tier": (
        lambda _: {"plugin_name": PRIVATE, "metadata": {"required_tier": "Enterprise"}},
        {"plugin_name": MISSING, "metadata": {"required_tier": "Enterprise"}},
        "PLUGIN_UNKNOWN",
    ),
    "a private plugin and no machine": (
        lambda _: {"plugin_name": PRIVATE, "installation": None},
        {"plugin_name": MISSING, "installation": None},
        "PLUGIN_UNKNOWN",
    ),
    "another customer's build": (
        lambda cast: {"plugin_name": "api-logger", "plugin_signature": cast.globex.build.signature.hex()},
        {"plugin_name": "api-logger", "plugin_signature": "ab" * 384},
        "BUILD_UNKNOWN",
    ),
    "another customer": (
        lambda cast: {"customer_id": cast.globex.id},
        {"customer_id": "enterprise_789"},
        "CUSTOMER_MISMATCH",
    ),
    "another customer in the metadata": (
        lambda cast: {"metadata": {"customer_id": cast.globex.id}},
        {"metadata": {"customer_id": "enterprise_789"}},
        "CUSTOMER_MISMATCH",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_authenticate(api: PluginApi, cast: Cast, name: str) -> None:
    hidden, missing, code = CASES[name]
    assert_alike(api.authenticate(cast.acme, **hidden(cast)), api.authenticate(cast.acme, **missing), code)


@pytest.mark.parametrize(
    "also",
    [
        {"required_tier": "Free"},
        {"blocked_versions": [VERSION]},
        {"minimum_version": "99.0.0"},
        {"installation_required": True},
        {"accepts_unsigned": False},
        {"proof": "required"},
    ],
    ids=lambda each: next(iter(each)),
)
def test_nothing_else_about_a_private_plugin_shows(api: PluginApi, cast: Cast, also: dict[str, Any]) -> None:
    Plugin.objects.filter(pk=PRIVATE).update(**also)
    for changes in ({}, {"installation": None}, {"plugin_signature": "ab" * 384}):
        assert_alike(
            api.authenticate(cast.acme, plugin_name=PRIVATE, **changes),
            api.authenticate(cast.acme, plugin_name=MISSING, **changes),
            "PLUGIN_UNKNOWN",
        )


def test_a_quarantined_private_plugin_does_not_show(api: PluginApi, cast: Cast) -> None:
    quarantine("plugin", plugin=PRIVATE)
    assert_alike(
        api.authenticate(cast.acme, plugin_name=PRIVATE),
        api.authenticate(cast.acme, plugin_name=MISSING),
        "PLUGIN_UNKNOWN",
    )


def test_without_a_key_there_is_no_customer(api: PluginApi, cast: Cast) -> None:
    for key in (generate_key("km_live"), "nonsense"):
        known = api.post("authenticate", asked(cast.globex), credential=key)
        unknown = api.post("authenticate", asked(cast.globex, customer_id="enterprise_789"), credential=key)
        assert_alike(known, unknown, "API_KEY_INVALID")


def test_without_a_key_there_is_no_plugin(api: PluginApi, cast: Cast) -> None:
    key = generate_key("km_live")
    known = api.post("authenticate", asked(cast.globex, plugin_name=PRIVATE), credential=key)
    unknown = api.post("authenticate", asked(cast.globex, plugin_name=MISSING), credential=key)
    assert_alike(known, unknown, "API_KEY_INVALID")


def test_a_key_that_never_was_is_like_one_of_the_wrong_form(api: PluginApi, cast: Cast) -> None:
    assert_alike(
        api.authenticate(cast.acme, key=generate_key("km_live")),
        api.authenticate(cast.acme, key="nonsense"),
        "API_KEY_INVALID",
    )


def test_another_customers_machine_is_a_new_one(api: PluginApi, cast: Cast) -> None:
    theirs = answer(api.authenticate(cast.globex))["installation_id"]
    mine = answer(api.authenticate(cast.acme))
    other = answer(api.authenticate(cast.acme, installation={"fingerprint": "nobodys-machine"}))
    assert theirs not in (mine["installation_id"], other["installation_id"])
    subscribe(cast.acme.customer, installation_limit=0)
    fresh = secrets.token_hex(8)
    api.authenticate(cast.globex, installation={"fingerprint": fresh})
    assert_alike(
        api.authenticate(cast.acme, installation={"fingerprint": fresh}),
        api.authenticate(cast.acme, installation={"fingerprint": secrets.token_hex(8)}),
        "INSTALLATION_LIMIT_REACHED",
    )


def test_another_customers_quarantines_do_not_show(api: PluginApi, cast: Cast) -> None:
    theirs = answer(api.authenticate(cast.globex))["installation_id"]
    quarantine("installation", target=theirs, customer=cast.globex.customer)
    quarantine("customer", target=cast.globex.id, customer=cast.globex.customer)
    assert api.authenticate(cast.acme, installation={"fingerprint": MACHINE}).status_code == 200


def test_validate_for_a_private_plugin_is_like_for_none(api: PluginApi, cast: Cast) -> None:
    token = api.token(cast.acme)
    assert_alike(api.validate(token, plugin=PRIVATE), api.validate(token, plugin=MISSING), "PLUGIN_MISMATCH")


@pytest.mark.parametrize("endpoint", ["validate", "refresh"])
def test_a_private_plugin_taken_away_is_gone(api: PluginApi, cast: Cast, endpoint: str) -> None:
    token = api.token(cast.globex, plugin_name=PRIVATE)

    def ask() -> HttpResponse:
        return api.validate(token, plugin=PRIVATE) if endpoint == "validate" else api.refresh(token)

    PluginAccess.objects.all().delete()
    taken = ask()
    Plugin.objects.filter(pk=PRIVATE).delete()
    assert_alike(taken, ask(), "PLUGIN_UNKNOWN")


def test_authenticating_for_a_private_plugin_with_access_works(api: PluginApi, cast: Cast) -> None:
    """Else everything above could be unknown for another reason."""
    assert api.authenticate(cast.globex, plugin_name=PRIVATE).status_code == 200
