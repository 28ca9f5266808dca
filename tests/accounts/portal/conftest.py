import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client

from tests.portal_fixtures import cast, committed_cast, jobs_run_at_once  # noqa: F401  pytest finds them here
from tests.signing_in import PASSWORD


@pytest.fixture
def client() -> Client:
    """A browser that is nobody yet."""
    return Client(raise_request_exception=False)


@pytest.fixture
def owner(cast: Any) -> Any:  # noqa: F811
    """The owner, with a password."""
    person = cast.people["owner"]
    person.set_password(PASSWORD)
    person.save()
    return person


@pytest.fixture
def secret(owner: Any) -> str:
    """The owner's authenticator app."""
    from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret

    made: str = generate_totp_secret()
    TOTP.activate(owner, made)
    return made


@pytest.fixture(autouse=True)
def _the_half_minute_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A code of an app that a test has computed stays good for that test, however busy the machine is."""
    begun = int(time.time()) // 30

    def counters() -> Iterator[int]:
        yield from range(begun, int(time.time()) // 30 + 1)

    monkeypatch.setattr("allauth.mfa.totp.internal.auth.yield_hotp_counters_from_time", counters)
