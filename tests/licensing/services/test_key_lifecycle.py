"""The life of signing keys and of the signed key set, as tokens and kits see it (DESIGN §6)."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from django.db import IntegrityError, connections, transaction

from licensing.core.clock import from_epoch
from licensing.core.models import AuditEvent, OutboxEvent
from licensing.crypto.base64url import decode
from licensing.crypto.keyset import VerifiedKeySet, verify_key_set
from licensing.crypto.strict_json import parse_object
from licensing.models import Certificate, SignedKeySet, SigningKey
from licensing.services.key_lifecycle import (
    AUTHORITY,
    CLOCK_MARGIN,
    KEY_AGE,
    PUBLISH_LEAD,
    bootstrap,
    maintain,
    rotate,
)
from tests.licensing.api.driver import PluginApi, answer, code_of
from tests.licensing.cast import ACTOR, DAY, T0, Cast, subscribe
from tests.licensing.conftest import Clock

LEAD = int(PUBLISH_LEAD.total_seconds())
TOKEN_LIFE = 900
MARGIN = int(CLOCK_MARGIN.total_seconds())


def published(now: int, *, newest_version: int = 0, newest_certificate: int = 0) -> VerifiedKeySet:
    """The set that is out, verified as a kit does: by the authority's key, its clock, and what it has seen."""
    der = Certificate.objects.values_list("der", flat=True).get(purpose=AUTHORITY, retired_at=None)
    authority = x509.load_der_x509_certificate(bytes(der)).public_key()
    assert isinstance(authority, ec.EllipticCurvePublicKey)
    return verify_key_set(
        SignedKeySet.objects.latest("version").jws,
        authority=authority,
        issuer="http://testserver",
        now=now,
        newest_version_seen=newest_version,
        newest_certificate_seen=newest_certificate,
    )


def listed(now: int, purpose: str = "token") -> list[str]:
    return [key.kid for key in published(now).keys if key.purpose == purpose]


def in_jwks(api: PluginApi) -> list[str]:
    return [key["kid"] for key in answer(api.client.get("/.well-known/jwks.json"))["keys"]]


def kid_of(token: str) -> str:
    return str(parse_object(decode(token.split(".")[0]))["kid"])


def start_rotation(now: int, *, emergency: bool = False, purpose: str = "token") -> SigningKey:
    key = rotate(purpose=purpose, emergency=emergency, actor=ACTOR, now=from_epoch(now))
    assert key is not None
    return key


def state_of(kid: str) -> str:
    return SigningKey.objects.get(pk=kid).state


def maintain_at(now: int) -> None:
    maintain(actor=ACTOR, now=from_epoch(now))


@pytest.mark.django_db
class TestBootstrap:
    def test_it_makes_what_is_needed_to_mint(self, cast: Cast) -> None:
        assert {(key.purpose, key.state) for key in SigningKey.objects.all()} == {
            ("token", "active"),
            ("lease", "active"),
        }
        assert published(T0).version == 1
        assert {key.kid for key in published(T0).keys} == set(SigningKey.objects.values_list("kid", flat=True))

    def test_again_it_changes_nothing(self, cast: Cast) -> None:
        before = [list(model.objects.values()) for model in (SigningKey, Certificate, SignedKeySet, AuditEvent)]
        assert bootstrap(actor=ACTOR, now=from_epoch(T0 + 60)) is False
        assert [list(model.objects.values()) for model in (SigningKey, Certificate, SignedKeySet, AuditEvent)] == before


@pytest.mark.django_db
class TestStagedRotation:
    def test_published_at_once_and_signing_only_after_the_lead(self, api: PluginApi, cast: Cast, clock: Clock) -> None:
        old = kid_of(api.token(cast.acme))
        new = start_rotation(T0).kid
        assert set(in_jwks(api)) == set(listed(T0)) == {old, new}
        for now in (T0, T0 + LEAD - 1):
            clock.now = now
            maintain_at(now)
            assert (state_of(new), kid_of(api.token(cast.acme))) == ("pending", old), now
        clock.now = T0 + LEAD
        maintain_at(T0 + LEAD)
        assert (state_of(new), state_of(old), kid_of(api.token(cast.acme))) == ("active", "retiring", new)

    def test_old_tokens_are_good_to_their_end_and_the_key_goes_after(
        self, api: PluginApi, cast: Cast, clock: Clock
    ) -> None:
        old = kid_of(api.token(cast.acme))
        new = start_rotation(T0).kid
        clock.now = T0 + LEAD
        token = api.token(cast.acme)
        maintain_at(T0 + LEAD)
        clock.now = T0 + LEAD + TOKEN_LIFE - 1
        maintain_at(int(clock.now))
        assert code_of(api.validate(token)) == "VALID"
        assert kid_of(answer(api.refresh(token))["token"]) == new
        maintain_at(T0 + LEAD + TOKEN_LIFE + MARGIN - 1)
        assert state_of(old) == "retiring"
        maintain_at(T0 + LEAD + TOKEN_LIFE + MARGIN)
        assert state_of(old) == "retired"
        assert bytes(SigningKey.objects.get(pk=old).sealed_private_key) == b""
        assert in_jwks(api) == listed(T0 + LEAD + TOKEN_LIFE + MARGIN) == [new]

    def test_a_key_in_no_set_that_is_out_does_not_take_over(self, cast: Cast) -> None:
        new = start_rotation(T0).kid
        SignedKeySet.objects.filter(version=SignedKeySet.objects.latest("version").version).delete()
        maintain_at(T0 + LEAD)
        assert state_of(new) == "pending"
        maintain_at(T0 + LEAD + 60)
        assert state_of(new) == "active"

    def test_asked_twice_it_is_one_rotation(self, cast: Cast) -> None:
        assert start_rotation(T0).kid == start_rotation(T0 + 5).kid
        assert SigningKey.objects.filter(purpose="token").count() == 2

    def test_a_key_of_thirty_days_is_replaced_by_itself(self, cast: Cast) -> None:
        age = int(KEY_AGE.total_seconds())
        maintain_at(T0 + age - 1)
        assert not SigningKey.objects.filter(state="pending").exists()
        maintain_at(T0 + age)
        assert {key.purpose for key in SigningKey.objects.filter(state="pending")} == {"token", "lease"}
        maintain_at(T0 + age + LEAD)
        assert SigningKey.objects.filter(state="active", activated_at=from_epoch(T0 + age + LEAD)).count() == 2

    def test_a_lease_key_stays_for_as_long_as_leases_do(self, cast: Cast) -> None:
        old = SigningKey.objects.get(purpose="lease").kid
        start_rotation(T0, purpose="lease")
        maintain_at(T0 + LEAD)
        maintain_at(T0 + LEAD + 3 * DAY)
        assert old in listed(T0 + LEAD + 3 * DAY, "lease")


@pytest.mark.django_db
class TestEmergency:
    def test_old_tokens_are_refused_at_once_and_new_ones_are_not(
        self, api: PluginApi, cast: Cast, clock: Clock
    ) -> None:
        token = api.token(cast.acme)
        new = start_rotation(T0, emergency=True).kid
        assert code_of(api.validate(token)) == "TOKEN_INVALID"
        assert (api.refresh(token).status_code, code_of(api.refresh(token))) == (401, "TOKEN_INVALID")
        fresh = api.token(cast.acme)
        assert (kid_of(fresh), code_of(api.validate(fresh))) == (new, "VALID")
        assert in_jwks(api) == listed(T0) == [new]

    def test_neither_a_retiring_key_nor_its_private_half_is_left(self, cast: Cast) -> None:
        start_rotation(T0)
        maintain_at(T0 + LEAD)
        start_rotation(T0 + LEAD + 1, emergency=True)
        gone = SigningKey.objects.filter(purpose="token", state="retired")
        assert gone.count() == 2
        assert all(bytes(key.sealed_private_key) == b"" for key in gone)

    def test_a_pending_key_takes_over(self, cast: Cast) -> None:
        pending = start_rotation(T0).kid
        assert start_rotation(T0 + 1, emergency=True).kid == pending
        assert state_of(pending) == "active"

    def test_it_leaves_the_other_purpose_alone(self, api: PluginApi, cast: Cast, clock: Clock) -> None:
        lease = listed(T0, "lease")
        start_rotation(T0, emergency=True)
        assert listed(T0, "lease") == lease

    def test_it_is_audited_and_told(self, cast: Cast) -> None:
        OutboxEvent.objects.all().delete()
        new = start_rotation(T0, emergency=True).kid
        row = AuditEvent.objects.get(action="signing_key.rotated")
        assert (row.subject_id, row.detail) == (new, {"purpose": "token", "emergency": True})
        assert OutboxEvent.objects.get(name="signing_key.rotated").payload["kid"] == new


@pytest.mark.django_db
class TestMintingNeedsPublication:
    @pytest.mark.parametrize("purpose", ["token", "lease"])
    def test_a_key_outside_of_the_set_mints_nothing(
        self, api: PluginApi, cast: Cast, clock: Clock, purpose: str
    ) -> None:
        token = api.token(cast.acme)
        others = list(SigningKey.objects.exclude(purpose=purpose).values_list("kid", flat=True))
        SignedKeySet.objects.update(kids=others)
        for response in (api.authenticate(cast.acme), api.refresh(token)):
            assert (response.status_code, code_of(response)) == (503, "SERVICE_UNAVAILABLE")
            assert int(response["Retry-After"]) > 0
        assert code_of(api.validate(token)) == "VALID"

    @pytest.mark.parametrize("remove", [SigningKey, SignedKeySet])
    def test_without_keys_or_set_there_is_no_answer(
        self, api: PluginApi, cast: Cast, clock: Clock, remove: type[SigningKey] | type[SignedKeySet]
    ) -> None:
        remove.objects.all().delete()
        assert api.authenticate(cast.acme).status_code == 503

    def test_a_no_needs_no_key(self, api: PluginApi, cast: Cast, clock: Clock) -> None:
        SignedKeySet.objects.all().delete()
        subscribe(cast.acme.customer, status="expired")
        assert code_of(api.authenticate(cast.acme)) == "SUBSCRIPTION_EXPIRED"


@pytest.mark.django_db
class TestKeySet:
    def test_signed_anew_after_a_day_and_not_before(self, cast: Cast) -> None:
        for now, version in ((T0 + 60, 1), (T0 + DAY - 1, 1), (T0 + DAY, 2), (T0 + DAY + 60, 2)):
            maintain_at(now)
            assert published(now).version == version
        assert published(T0 + DAY).issued_at == T0 + DAY
        assert published(T0 + DAY).expires_at == T0 + 8 * DAY

    def test_each_change_of_keys_is_a_new_version(self, cast: Cast) -> None:
        versions = [published(T0).version]
        start_rotation(T0)
        versions.append(published(T0).version)
        maintain_at(T0 + LEAD)
        start_rotation(T0 + LEAD, emergency=True)
        versions.append(published(T0 + LEAD).version)
        assert versions == sorted(set(versions))

    def test_a_hundred_days_of_it_satisfy_every_kit(self, cast: Cast) -> None:
        """Versions and certificates never go back, all that signs is listed, and no certificate lapses meanwhile."""
        version = certificate = 0
        certificates = set()
        for day in range(0, 101, 4):
            now = T0 + day * DAY
            maintain_at(now)
            maintain_at(now + LEAD)
            found = published(now + LEAD, newest_version=version, newest_certificate=certificate)
            version, certificate = found.version, found.certificate_not_before
            certificates.add(certificate)
            signing = SigningKey.objects.filter(state__in=["pending", "active", "retiring"])
            assert {key.kid for key in found.keys} == {key.kid for key in signing}
            assert signing.filter(state="active").count() == 2
            current = Certificate.objects.get(purpose="keyset", retired_at=None)
            assert current.not_after - from_epoch(now) > timedelta(days=29)
        assert len(certificates) == 2

    def test_after_a_long_silence_it_recovers(self, cast: Cast) -> None:
        now = T0 + 200 * DAY
        maintain_at(now)
        maintain_at(now + LEAD)
        assert published(now + LEAD, newest_version=1).expires_at > now


@pytest.mark.django_db
@pytest.mark.parametrize("state", ["active", "pending"])
def test_the_database_keeps_one_key_of_a_purpose_in_each_state(cast: Cast, state: str) -> None:
    start_rotation(T0)
    row = SigningKey.objects.get(purpose="token", state=state)
    row.pk = "x" * 43
    with pytest.raises(IntegrityError), transaction.atomic():
        row.save(force_insert=True)


def at_once(actions: list[Callable[[], object]]) -> None:
    start = threading.Barrier(len(actions))

    def run(action: Callable[[], object]) -> None:
        try:
            start.wait(10)
            action()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(actions)) as pool:
        list(pool.map(run, actions))


@pytest.mark.django_db(transaction=True)
class TestAtOnce:
    """All hands on the keys take one lock."""

    def test_rotations(self, fresh_cast: Cast) -> None:
        at_once([lambda: start_rotation(T0)] * 6)
        assert SigningKey.objects.filter(purpose="token", state="pending").count() == 1
        assert published(T0).version == 2

    def test_an_emergency_ordered_twice(self, fresh_cast: Cast) -> None:
        leaving = SigningKey.objects.get(purpose="token").kid

        def order() -> object:
            return rotate(purpose="token", emergency=True, actor=ACTOR, now=from_epoch(T0), leaving=leaving)

        at_once([order] * 4)
        states = sorted(SigningKey.objects.filter(purpose="token").values_list("state", flat=True))
        assert states == ["active", "retired"]

    def test_everything(self, fresh_cast: Cast) -> None:
        at_once(
            [
                lambda: maintain_at(T0 + 31 * DAY),
                lambda: maintain_at(T0 + 31 * DAY),
                lambda: start_rotation(T0 + 31 * DAY),
                lambda: start_rotation(T0 + 31 * DAY, emergency=True),
                lambda: bootstrap(actor=ACTOR, now=from_epoch(T0 + 31 * DAY)),
            ]
        )
        for purpose in ("token", "lease"):
            assert SigningKey.objects.filter(purpose=purpose, state="active").count() == 1
        versions = list(SignedKeySet.objects.order_by("version").values_list("version", flat=True))
        assert versions == list(range(1, len(versions) + 1))
        live = SigningKey.objects.exclude(state="retired").values_list("kid", flat=True)
        assert {key.kid for key in published(T0 + 31 * DAY).keys} == set(live)
