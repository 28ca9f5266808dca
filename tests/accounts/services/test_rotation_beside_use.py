"""Recovery codes are used while `rotate_kek web` runs: no use is forgotten, and every seed ends under the new key."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from django.conf import settings
from django.db import connection
from django.test import override_settings

from accounts.keyrings import ring
from accounts.models import User
from accounts.sealed_columns import declared_columns
from accounts.services import rotation
from accounts.services.rotation import reseal, sealed_versions
from licensing.core.actor import system
from licensing.crypto.sealing import new_versioned_key

ACTOR = system("tests")
PEOPLE = 3


@pytest.mark.django_db(transaction=True)
def test_codes_are_used_while_their_seeds_are_resealed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rotation, "BATCH_ROWS", 1)
    people = [User.objects.create_user(f"person{index}@acme.example") for index in range(PEOPLE)]
    codes = {person.pk: RecoveryCodes.activate(person).get_unused_codes() for person in people}
    new = new_versioned_key(2)
    used: list[bool] = []

    def use_them() -> None:
        for index in range(8):
            for person in people:
                row = Authenticator.objects.get(user=person)
                used.append(RecoveryCodes(row).validate_code(codes[person.pk][index]))

    def rotate() -> None:
        for _ in range(8):
            reseal(purpose="web", actor=ACTOR)

    keys = settings.KEY_ENCRYPTION_KEYS
    with override_settings(KEY_ENCRYPTION_KEYS={**keys, "web": f"{new},{keys['web']}"}):
        _at_once(use_them, rotate, rotate)
        assert reseal(purpose="web", actor=ACTOR).is_complete
    assert used == [True] * 8 * PEOPLE
    with override_settings(KEY_ENCRYPTION_KEYS={**keys, "web": new}):
        assert not any(sealed_versions(column, ring("web")) for column in declared_columns("web"))
        for person in people:
            left = RecoveryCodes(Authenticator.objects.get(user=person)).get_unused_codes()
            assert left == codes[person.pk][8:]


def _at_once(*work: Callable[[], None]) -> None:
    failures: list[BaseException] = []

    def guarded(each: Callable[[], None]) -> None:
        try:
            each()
        except BaseException as exc:  # noqa: BLE001  shown by the assertion below
            failures.append(exc)
        finally:
            connection.close()

    threads = [threading.Thread(target=guarded, args=(each,)) for each in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
