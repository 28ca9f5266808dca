"""Key slots: a rotated key opens the builds of before, a revoked one has no slot any more, and only `sign` vouches."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest
from django.test import Client

from tests.build_farm.services.conftest import now

if TYPE_CHECKING:
    from build_farm.models import Build
    from tests.build_farm.services.conftest import Farm


def sign_slots() -> int:
    from build_farm.services.key_slots import sign_due_slots
    from build_farm.signing.local import current_signer

    return sign_due_slots(signer=current_signer(), now=now())


def opened(jws: str) -> dict[str, Any]:
    """The payload, if the one certificate in the header signed it and is a key-slot signer's."""
    from cryptography.hazmat.primitives.asymmetric import ec

    from licensing.crypto import base64url
    from licensing.crypto.authority import Purpose, verify_certificate
    from licensing.crypto.signatures import raw_to_der, verify_text
    from licensing.services.key_lifecycle import load_authority

    header, payload, signature = jws.split(".")
    members = json.loads(base64url.decode(header))
    assert list(members) == ["alg", "typ", "x5c"]
    assert (members["alg"], members["typ"]) == ("ES256", "keyslots+jws")
    (encoded,) = members["x5c"]
    certificate = verify_certificate(
        base64.b64decode(encoded), authority=load_authority().public_key, purpose=Purpose.KEYSLOTS, at=now()
    )
    key = certificate.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    verify_text(key, f"{header}.{payload}".encode(), raw_to_der(base64url.decode(signature)))
    text: dict[str, Any] = json.loads(base64url.decode(payload))
    assert text["_type"] == "keywright-keyslots/v1"
    return text


def secret_for(key: str, text: dict[str, Any], build: Build) -> bytes:
    from build_farm.services.prepare_build import slot_identity
    from licensing.crypto import keys
    from licensing.crypto.build_slot import open_secret

    name = f"sha256:{keys.fingerprint(key).hex()}"
    (slot,) = [slot for slot in text["slots"] if slot["key_hash"] == name]
    return open_secret(keys.key_root(key), slot["secret"], slot_identity(build))


def test_a_rotated_key_opens_the_build_of_before(farm: Farm) -> None:
    from accounts.services.api_keys import rotate_api_key
    from build_farm.models import KeySlotFile
    from licensing.core import outbox
    from licensing.services.proofs import build_secret
    from tests.licensing.cast import ACTOR

    build = farm.publish(farm.ask())
    outbox.dispatch_pending(now=now())
    assert sign_slots() == 1
    first = opened(KeySlotFile.objects.get(pk=build.pk).jws)
    assert (first["build_id"], first["customer_id"], first["version"]) == (build.pk, "cust_123", 1)
    build_secret.cache_clear()
    assert secret_for(farm.cast.acme.key, first, build) == build_secret(build.pk)

    issued = rotate_api_key(api_key=farm.cast.acme.api_key, overlap_seconds=0, actor=ACTOR, now=now())
    outbox.dispatch_pending(now=now())
    assert sign_slots() == 1
    second = opened(KeySlotFile.objects.get(pk=build.pk).jws)
    assert second["version"] == 2
    assert len(second["slots"]) == 1, "the old key has ended"
    assert secret_for(issued.key, second, build) == build_secret(build.pk)
    assert sign_slots() == 0


def test_builds_that_a_newer_one_has_replaced_keep_up_too(farm: Farm) -> None:
    from accounts.services.api_keys import revoke_api_key
    from build_farm.models import KeySlotFile
    from licensing.core import outbox
    from tests.licensing.cast import ACTOR, make_key

    old = farm.publish(farm.ask())
    farm.publish(farm.ask(again=True))
    make_key(farm.customer)
    revoke_api_key(api_key=farm.cast.acme.api_key, actor=ACTOR, now=now())
    outbox.dispatch_pending(now=now())
    assert sign_slots() == 2
    assert len(opened(KeySlotFile.objects.get(pk=old.pk).jws)["slots"]) == 1


def test_a_new_key_has_its_slot_before_anybody_asks(farm: Farm) -> None:
    from accounts.services.api_keys import issue_api_key
    from build_farm.models import KeySlotFile
    from licensing.core import outbox
    from licensing.core.models import OutboxEvent
    from licensing.services.proofs import build_secret
    from tests.licensing.cast import ACTOR

    build, theirs = farm.publish(farm.ask()), farm.publish(farm.ask(farm.cast.globex.customer))
    outbox.dispatch_pending(now=now())
    assert sign_slots() == 2
    issued = issue_api_key(customer=farm.customer, name="second", actor=ACTOR)
    event = OutboxEvent.objects.get(name="key.issued", payload__api_key_id=issued.api_key.pk)
    assert event.customer_id == "cust_123"
    assert issued.key not in str(event.payload)
    outbox.dispatch_pending(now=now())
    assert sign_slots() == 1, "that customer's, and nobody else's"
    file = KeySlotFile.objects.get(pk=build.pk)
    assert (file.version, KeySlotFile.objects.get(pk=theirs.pk).version) == (2, 1)
    build_secret.cache_clear()
    assert secret_for(issued.key, opened(file.jws), build) == build_secret(build.pk)


def test_slots_that_change_while_they_are_signed_are_signed_again(farm: Farm, monkeypatch: pytest.MonkeyPatch) -> None:
    from build_farm.models import KeySlotFile
    from build_farm.services import key_slots
    from tests.licensing.cast import make_key

    build = farm.publish(farm.ask())
    key_slots.refresh_slots(build_id=build.pk, now=now())
    sign = key_slots.sign_jws

    def slowly(*arguments: Any, **options: Any) -> str:
        make_key(farm.customer)
        key_slots.refresh_slots(build_id=build.pk, now=now())
        return sign(*arguments, **options)

    with monkeypatch.context() as patched:
        patched.setattr(key_slots, "sign_jws", slowly)
        assert sign_slots() == 0
    assert KeySlotFile.objects.get(pk=build.pk).jws == ""
    assert sign_slots() == 1
    assert len(opened(KeySlotFile.objects.get(pk=build.pk).jws)["slots"]) == 2


def test_the_endpoint_gives_the_slots_of_now_and_busy_until_they_are_signed(farm: Farm) -> None:
    from tests.licensing.cast import make_key

    build = farm.publish(farm.ask())

    def ask(key: str) -> Any:
        return Client().get(f"/api/registry/builds/{build.pk}/keys", headers={"authorization": f"Bearer {key}"})

    busy = ask(farm.cast.acme.key)
    assert (busy.status_code, busy.headers["Retry-After"]) == (503, "2")
    sign_slots()
    answer = ask(farm.cast.acme.key)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/jose")
    assert len(opened(answer.content.decode())["slots"]) == 1
    # A key that nobody announced: the next question finds out.
    newer = make_key(farm.customer)
    assert ask(newer.key).status_code == 503
    sign_slots()
    assert secret_for(newer.key, opened(ask(newer.key).content.decode()), build)
    limited = make_key(farm.customer, scopes=["plugins:authenticate"])
    assert ask(limited.key).status_code == 403
    assert ask(farm.cast.globex.key).status_code == 404
    assert ask("km_live_nonsense").status_code == 401
    unpublished = farm.ask(target="linux/arm64")
    path = f"/api/registry/builds/{unpublished.pk}/keys"
    assert Client().get(path, headers={"x-api-key": farm.cast.acme.key}).status_code == 404
