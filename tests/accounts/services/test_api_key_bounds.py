"""How many keys a customer may have: all of them are before every decision about it."""

from datetime import UTC, datetime, timedelta

import pytest

from accounts.models import ApiKey
from accounts.services import api_keys
from accounts.services.api_keys import issue_api_key, revoke_api_key, rotate_api_key
from licensing.core.errors import Conflict
from tests import cast
from tests.cast import ACTOR

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_keys, "MAX_LIVE_KEYS", 3)
    monkeypatch.setattr(api_keys, "MAX_KEYS", 5)


def test_only_live_keys_count_against_the_live_ones() -> None:
    now = datetime.now(UTC)
    owner, other = cast.customer("acme_1"), cast.customer("globex_1")
    issue_api_key(customer=owner, name="expired", actor=ACTOR, expires_at=now - timedelta(seconds=1))
    issued = [issue_api_key(customer=owner, name="live", actor=ACTOR) for _ in range(3)]
    with pytest.raises(Conflict, match="3 live keys already"):
        issue_api_key(customer=owner, name="one more", actor=ACTOR)
    with pytest.raises(Conflict, match="3 live keys already"):
        rotate_api_key(api_key=issued[0].api_key, overlap_seconds=0, actor=ACTOR, now=now)
    issue_api_key(customer=other, name="another's", actor=ACTOR)
    revoke_api_key(api_key=issued[0].api_key, actor=ACTOR, now=now)
    issue_api_key(customer=owner, name="one more", actor=ACTOR)
    assert ApiKey.objects.filter(customer=owner).count() == 5


def test_keys_that_were_revoked_are_kept_and_bounded() -> None:
    now = datetime.now(UTC)
    owner = cast.customer("acme_1")
    for _ in range(5):
        row = issue_api_key(customer=owner, name="short", actor=ACTOR).api_key
        revoke_api_key(api_key=row, actor=ACTOR, now=now)
    with pytest.raises(Conflict, match="5 keys already"):
        issue_api_key(customer=owner, name="one more", actor=ACTOR)


def test_over_http_it_is_a_409() -> None:
    client = cast.key_of(cast.customer("acme_1"))
    statuses = [client.post("/api/account/api-keys/", {"name": "x"}).status_code for _ in range(3)]
    assert statuses == [201, 201, 409]
