"""A pepper that was dropped, or has not arrived yet: whose key it is cannot be known, which is never "nobody's"."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from django.conf import settings
from django.db import connection
from django.test import override_settings
from django.test.utils import CaptureQueriesContext

from accounts.models import SCOPES, ApiKey
from accounts.services.rotation import repepper
from licensing.crypto.keys import generate_key
from licensing.crypto.sealing import new_versioned_key
from registry.services.registry_tokens import issue_registry_token
from tests import cast
from tests.cast import ACTOR, Api

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("empty_valkey")]


@contextmanager
def peppers(*texts: str) -> Iterator[None]:
    """A process that holds these peppers."""
    with override_settings(API_KEY_PEPPERS=",".join(texts)):
        yield


def ask_as_operator(credential: str) -> int:
    return Api(credential).get("/api/manage/customers/").status_code


def ask_as_customer(credential: str) -> int:
    return Api(credential).get("/api/account/customer").status_code


def ask_as_plugin(credential: str) -> int:
    asked = {"plugin_name": "api-logger", "plugin_version": "1.0.0", "customer_id": "acme_1"}
    return Api(credential).post("/api/plugins/authenticate", asked).status_code


def ask_as_installer(credential: str) -> int:
    return Api(credential).get("/api/registry/plugins").status_code


def operator_key() -> str:
    return cast.operator()[1].credential


def api_key() -> str:
    return cast.key_of(cast.customer("acme_1"), scopes=SCOPES).credential


def registry_token() -> str:
    now = datetime.now(UTC)
    expires_at = now + timedelta(days=1)
    owner = cast.customer("acme_1")
    return issue_registry_token(customer=owner, name="tests", expires_at=expires_at, actor=ACTOR, now=now).token


KINDS: dict[str, tuple[Callable[[], str], Callable[[str], int], str]] = {
    "operator key": (operator_key, ask_as_operator, "kmop"),
    "API key, plugin API": (api_key, ask_as_plugin, "km_live"),
    "API key, account API": (api_key, ask_as_customer, "km_live"),
    "registry token": (registry_token, ask_as_installer, "pat"),
}


@pytest.mark.parametrize("name", KINDS)
def test_a_dropped_pepper_is_503_and_a_wrong_key_401(name: str) -> None:
    make, ask, prefix = KINDS[name]
    credential, stranger = make(), generate_key(prefix)
    old, new = settings.API_KEY_PEPPERS, new_versioned_key(2)
    assert ask(stranger) == 401
    with peppers(new):
        assert (ask(credential), ask(stranger)) == (503, 503)
    with peppers(new, old):
        assert ask(stranger) == 401
        repepper(actor=ACTOR)
    with peppers(new):
        assert ask(stranger) == 401
    # Though this very process found all keys to be under the old pepper a moment ago.
    assert (ask(credential), ask(stranger)) == (503, 503)


@pytest.mark.parametrize("missing", [1, 5, 9])
def test_whichever_version_is_missing(missing: int) -> None:
    keys = {version: new_versioned_key(version) for version in (1, 5, 9)}
    for version in keys:
        with peppers(keys[version]):
            cast.key_of(cast.customer(f"under_{version}"))
    held = [text for version, text in keys.items() if version != missing]
    with peppers(*keys.values()):
        assert ask_as_customer(generate_key("km_live")) == 401
    with peppers(*held):
        assert ask_as_customer(generate_key("km_live")) == 503
        ApiKey.objects.filter(pepper_version=missing).delete()
        assert ask_as_customer(generate_key("km_live")) == 401


@pytest.mark.parametrize("name", KINDS)
def test_only_a_key_that_is_not_found_costs_a_second_look(name: str) -> None:
    make, ask, prefix = KINDS[name]
    credential, stranger = make(), generate_key(prefix)
    looks = []
    for presented in (credential, stranger):
        with CaptureQueriesContext(connection) as seen:
            ask(presented)
        looks.append(sum('"pepper_version" <' in each["sql"] for each in seen.captured_queries))
    assert looks == [0, 1]
