"""Request proofs over HTTP (DESIGN §5): the HMAC, the skew, the replay, and what an absent memory of nonces means.

Proofs are computed here by hand, as docs/request-proof.md describes them, not by the server's own module.
"""

import hashlib
import hmac
import json
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from django.http import HttpResponse

from accounts.models import Customer
from licensing.core.clock import rfc3339
from licensing.core.valkey import valkey
from licensing.models import Lockdown, Plugin
from licensing.services.state import State
from tests.licensing.api.driver import PluginApi, answer, asked, code_of, signed
from tests.licensing.cast import T0, Build, Cast, make_build
from tests.licensing.conftest import Clock

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("empty_valkey")]

VECTORS = Path(__file__).resolve().parents[2] / "vectors" / "request-proof.json"
TARGET = "/api/plugins/authenticate"


def proof(
    secret: bytes, *, timestamp: int | str, nonce: str, credential: str, body: bytes, target: str = TARGET,
    method: str = "POST", authority: str = "testserver",
) -> str:  # fmt: skip
    lines = ["keywright-proof-v1", method, authority, target, str(timestamp), nonce]
    lines += [hashlib.sha256(part).hexdigest() for part in (credential.encode(), body)]
    return "v1=" + hmac.new(secret, "\n".join(lines).encode(), "sha256").hexdigest()


@pytest.mark.parametrize("case", json.loads(VECTORS.read_text("utf-8"))["cases"], ids=lambda case: case["name"])
def test_the_hand_that_proves_here_agrees_with_the_published_vector(case: dict[str, Any]) -> None:
    made = proof(
        bytes.fromhex(case["secret_hex"]),
        timestamp=case["timestamp"],
        nonce=case["nonce"],
        credential=case["credential"],
        body=case["body"].encode(),
        target=case["target"],
        method=case["method"],
        authority=case["authority"],
    )
    assert made == case["proof"]


class Prover:
    """cust_123's api-logger build, which can prove its requests."""

    def __init__(self, api: PluginApi, cast: Cast, clock: Clock) -> None:
        self.api, self.member, self.clock = api, cast.acme, clock
        self.build: Build = cast.acme.build

    def body(self) -> dict[str, Any]:
        return asked(self.member, **signed(self.member))

    def ask(
        self, endpoint: str = "authenticate", body: object = "", *, credential: str = "", nonce: str = "",
        timestamp: float | None = None, headers: Mapping[str, str | None] | None = None,
        secret: bytes = b"", covers: Mapping[str, Any] | None = None,
    ) -> HttpResponse:  # fmt: skip
        """Send with a proof; `covers` is what the proof covers instead of the truth, `headers` replaces headers."""
        body = self.body() if body == "" else body
        raw = b"" if body is None else json.dumps(body).encode()
        credential = credential or self.member.key
        nonce = nonce or secrets.token_hex(16)
        stamp = int(self.clock.now if timestamp is None else timestamp)
        parts = {
            "credential": credential, "body": raw, "target": f"/api/plugins/{endpoint}", "timestamp": stamp,
            "nonce": nonce, **(covers or {}),
        }  # fmt: skip
        sent: dict[str, str | None] = {
            "X-Keywright-Proof": proof(secret or self.build.secret, **parts),
            "X-Keywright-Timestamp": str(stamp),
            "X-Keywright-Nonce": nonce,
            **(headers or {}),
        }
        present = {name: value for name, value in sent.items() if value is not None}
        return self.api.post(endpoint, raw or None, credential=credential, headers=present)


@pytest.fixture
def prover(api: PluginApi, cast: Cast, clock: Clock) -> Prover:
    return Prover(api, cast, clock)


@pytest.fixture
def required(cast: Cast) -> None:
    assert Plugin.objects.filter(pk="api-logger").update(proof="required") == 1


@pytest.mark.parametrize("who_asks", ["nobody", "the plugin", "the customer"])
def test_a_right_proof_is_accepted(prover: Prover, who_asks: str) -> None:
    if who_asks == "the plugin":
        Plugin.objects.filter(pk="api-logger").update(proof="required")
    if who_asks == "the customer":
        Customer.objects.filter(pk=prover.member.id).update(proof_required=True)
    assert prover.ask().status_code == 200


@pytest.mark.parametrize("who_asks", ["the plugin", "the customer"])
def test_a_required_proof_that_is_absent(prover: Prover, who_asks: str) -> None:
    if who_asks == "the plugin":
        Plugin.objects.filter(pk="api-logger").update(proof="required")
    else:
        Customer.objects.filter(pk=prover.member.id).update(proof_required=True)
    response = prover.api.post("authenticate", prover.body(), credential=prover.member.key)
    assert (response.status_code, code_of(response)) == (403, "PROOF_REQUIRED")


def test_an_optional_proof_that_is_absent(prover: Prover) -> None:
    assert prover.api.post("authenticate", prover.body(), credential=prover.member.key).status_code == 200


WRONG: dict[str, dict[str, Any]] = {
    "another secret": {"secret": bytes(32)},
    "another method": {"covers": {"method": "PUT"}},
    "the method in small letters": {"covers": {"method": "post"}},
    "another authority": {"covers": {"authority": "evil.example"}},
    "the authority with its port": {"covers": {"authority": "testserver:80"}},
    "another target": {"covers": {"target": "/api/plugins/refresh"}},
    "the target with a slash": {"covers": {"target": TARGET + "/"}},
    "the target with a query": {"covers": {"target": TARGET + "?a=b"}},
    "another credential": {"covers": {"credential": "km_live_another"}},
    "another body": {"covers": {"body": b"{}"}},
    "an empty body": {"covers": {"body": b""}},
    "another time in the proof": {"covers": {"timestamp": T0 - 1}},
    "another nonce in the proof": {"covers": {"nonce": "0123456789abcdef"}},
    "the time with a zero before it": {"headers": {"X-Keywright-Timestamp": f"0{T0}"}},
    "a time with a sign": {"headers": {"X-Keywright-Timestamp": f"+{T0}"}},
    "a time with a fraction": {"headers": {"X-Keywright-Timestamp": f"{T0}.0"}},
    "a time of other digits": {"headers": {"X-Keywright-Timestamp": "١٢٣"}},
    "no time": {"headers": {"X-Keywright-Timestamp": None}},
    "no nonce": {"headers": {"X-Keywright-Nonce": None}},
    "no proof": {"headers": {"X-Keywright-Proof": None}},
    "an empty proof": {"headers": {"X-Keywright-Proof": ""}},
    "another version": {"headers": {"X-Keywright-Proof": "v2=" + "0" * 64}},
    "a short proof": {"headers": {"X-Keywright-Proof": "v1=" + "0" * 63}},
    "capital letters": {"headers": {"X-Keywright-Proof": "v1=" + "ABCDEF" + "0" * 58}},
    "two proofs": {"headers": {"X-Keywright-Proof": "v1=" + "0" * 64 + ",v1=" + "0" * 64}},
    "a short nonce": {"nonce": "a" * 15},
    "a long nonce": {"nonce": "a" * 65},
    "a nonce with a colon": {"nonce": "aaaaaaaa:aaaaaaaa"},
    "a nonce with white space": {"nonce": "aaaaaaaa aaaaaaaa"},
}


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("policy", ["optional", "required"])
def test_a_proof_that_is_wrong(prover: Prover, name: str, policy: str) -> None:
    Plugin.objects.filter(pk="api-logger").update(proof=policy)
    response = prover.ask(**WRONG[name])
    assert (response.status_code, code_of(response)) == (403, "PROOF_INVALID")
    assert str(T0) not in answer(response)["detail"]


@pytest.mark.parametrize("nonce", ["a" * 16, "a" * 64, "AZaz09_-AZaz09_-"])
def test_nonces_of_the_shortest_and_the_longest_form(prover: Prover, nonce: str) -> None:
    assert prover.ask(nonce=nonce).status_code == 200


def test_another_builds_secret_is_no_proof(prover: Prover) -> None:
    other = make_build(prover.member.customer, version="2.2.0")
    assert code_of(prover.ask(secret=other.secret)) == "PROOF_INVALID"


@pytest.mark.parametrize(
    ("skew", "code"), [(-61, "PROOF_INVALID"), (-60, "VALID"), (60, "VALID"), (61, "PROOF_INVALID")]
)
@pytest.mark.parametrize("policy", ["optional", "required"])
def test_the_skew_to_the_second(prover: Prover, skew: int, code: str, policy: str) -> None:
    Plugin.objects.filter(pk="api-logger").update(proof=policy)
    response = prover.ask(timestamp=T0 + skew)
    assert code_of(response) == code
    if code != "VALID":
        assert str(T0) in answer(response)["detail"]
    assert answer(response).get("server_time") == (None if code == "VALID" else rfc3339(T0))


@pytest.mark.parametrize("endpoint", ["validate", "refresh", "deactivate", "usage"])
def test_whatever_a_token_asks_for_learns_the_servers_time(prover: Prover, endpoint: str) -> None:
    token = answer(prover.ask())["token"]
    bodies: dict[str, Any] = {
        "validate": {"plugin_name": "api-logger", "plugin_token": token},
        "usage": {"batch_id": "batch-0001", "events": [{"feature": "api_logging"}]},
    }
    response = prover.ask(endpoint, bodies.get(endpoint), credential=token, timestamp=T0 - 61)
    assert (code_of(response), answer(response)["server_time"]) == ("PROOF_INVALID", rfc3339(T0))


def test_only_who_has_the_secret_learns_the_servers_time(prover: Prover) -> None:
    response = prover.ask(timestamp=T0 + 3600, secret=bytes(32))
    assert code_of(response) == "PROOF_INVALID"
    assert str(T0) not in answer(response)["detail"]
    assert "server_time" not in answer(response)


class TestReplay:
    """Once is once, for each build."""

    @pytest.mark.parametrize("policy", ["optional", "required"])
    def test_the_same_request_again(self, prover: Prover, policy: str) -> None:
        Plugin.objects.filter(pk="api-logger").update(proof=policy)
        nonce = secrets.token_hex(16)
        assert prover.ask(nonce=nonce).status_code == 200
        response = prover.ask(nonce=nonce)
        assert (response.status_code, code_of(response)) == (403, "PROOF_REPLAYED")

    def test_the_same_nonce_for_another_request(self, prover: Prover) -> None:
        nonce = secrets.token_hex(16)
        token = answer(prover.ask(nonce=nonce))["token"]
        assert code_of(prover.ask("refresh", None, credential=token, nonce=nonce)) == "PROOF_REPLAYED"

    def test_the_same_nonce_at_the_edge_of_its_window(self, prover: Prover, clock: Clock) -> None:
        nonce = secrets.token_hex(16)
        clock.now = T0 - 60
        assert prover.ask(nonce=nonce, timestamp=T0).status_code == 200
        clock.now = T0 + 60
        assert code_of(prover.ask(nonce=nonce, timestamp=T0)) == "PROOF_REPLAYED"
        clock.now = T0 + 61
        assert code_of(prover.ask(nonce=nonce, timestamp=T0)) == "PROOF_INVALID"

    def test_a_nonce_is_remembered_for_as_long_as_it_could_come_again(self, prover: Prover) -> None:
        nonce = secrets.token_hex(16)
        prover.ask(nonce=nonce)
        left = valkey().run(lambda client: client.ttl(f"proof:nonce:{prover.build.id}:{nonce}"))
        assert 120 < left <= 130

    def test_another_builds_same_nonce(self, prover: Prover, cast: Cast) -> None:
        nonce = secrets.token_hex(16)
        assert prover.ask(nonce=nonce).status_code == 200
        prover.member, prover.build = cast.globex, cast.globex.build
        assert prover.ask(nonce=nonce).status_code == 200

    def test_who_has_not_the_secret_cannot_use_up_a_nonce(self, prover: Prover) -> None:
        nonce = secrets.token_hex(16)
        assert code_of(prover.ask(nonce=nonce, secret=bytes(32))) == "PROOF_INVALID"
        assert prover.ask(nonce=nonce).status_code == 200

    def test_a_refusal_by_the_rules_uses_no_nonce_up(self, prover: Prover) -> None:
        nonce = secrets.token_hex(16)
        Lockdown.objects.create()
        assert code_of(prover.ask(nonce=nonce)) == "LOCKDOWN"
        Lockdown.objects.all().delete()
        assert prover.ask(nonce=nonce).status_code == 200

    def test_a_decision_that_is_made_again_is_no_replay_of_itself(
        self, prover: Prover, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        trusted = iter([False, False, True])
        monkeypatch.setattr(State, "is_trusted", lambda _: next(trusted))
        assert prover.ask().status_code == 200
        assert next(trusted, None) is None


class TestWithoutABuild:
    """A caller that names no build has no secret to prove with."""

    def _ask(self, prover: Prover) -> HttpResponse:
        return prover.ask(body=asked(prover.member))

    def test_a_proof_there_is_nothing_to_hold_against(self, prover: Prover) -> None:
        assert code_of(self._ask(prover)) == "PROOF_INVALID"

    def test_none_will_do_where_one_is_required(self, prover: Prover) -> None:
        Plugin.objects.filter(pk="console-logger").update(proof="required")
        assert code_of(self._ask(prover)) == "PROOF_REQUIRED"


@pytest.mark.usefixtures("required")
class TestTokens:
    """Where proof is required, a token alone is not enough for anything."""

    @pytest.fixture
    def token(self, prover: Prover) -> str:
        token: str = answer(prover.ask())["token"]
        return token

    @pytest.mark.parametrize("endpoint", ["validate", "refresh", "deactivate"])
    def test_with_and_without(self, prover: Prover, token: str, endpoint: str) -> None:
        body = {"plugin_name": "api-logger", "plugin_token": token} if endpoint == "validate" else None
        assert code_of(prover.api.post(endpoint, body, credential=token)) == "PROOF_REQUIRED"
        assert code_of(prover.ask(endpoint, body, credential=token, secret=bytes(32))) == "PROOF_INVALID"
        assert code_of(prover.ask(endpoint, body, credential=token, covers={"target": TARGET})) == "PROOF_INVALID"
        nonce = secrets.token_hex(16)
        assert prover.ask(endpoint, body, credential=token, nonce=nonce).status_code == 200
        assert code_of(prover.ask(endpoint, body, credential=token, nonce=nonce)) == "PROOF_REPLAYED"

    def test_a_proof_of_the_path_with_its_slash(self, prover: Prover, token: str) -> None:
        response = prover.ask("refresh/", None, credential=token, covers={"target": "/api/plugins/refresh/"})
        assert response.status_code == 200

    def test_a_proof_of_the_query_too(self, prover: Prover, token: str) -> None:
        right = prover.ask(
            "refresh?a=b&c=%2F", None, credential=token, covers={"target": "/api/plugins/refresh?a=b&c=%2F"}
        )
        assert right.status_code == 200
        wrong = prover.ask("refresh?a=b", None, credential=token, covers={"target": "/api/plugins/refresh"})
        assert code_of(wrong) == "PROOF_INVALID"


def _flush() -> None:
    valkey().run(lambda client: client.flushdb())


def _since(instant: int) -> Callable[[], object]:
    return lambda: valkey().run(lambda client: client.set("proof:since", instant))


class TestMemory:
    """When it cannot be known whether a nonce was used: ignored where optional, 503 where required, never a verdict."""

    @pytest.mark.usefixtures("dead_valkey")
    def test_valkey_away_where_optional(self, prover: Prover) -> None:
        nonce = secrets.token_hex(16)
        assert prover.ask(nonce=nonce).status_code == 200
        assert prover.ask(nonce=nonce).status_code == 200
        assert code_of(prover.ask(secret=bytes(32))) == "PROOF_INVALID"

    @pytest.mark.usefixtures("dead_valkey", "required")
    def test_valkey_away_where_required(self, prover: Prover) -> None:
        response = prover.ask()
        assert (response.status_code, code_of(response)) == (503, "SERVICE_UNAVAILABLE")
        assert int(response["Retry-After"]) > 0
        assert code_of(prover.ask(secret=bytes(32))) == "PROOF_INVALID"
        without = prover.api.post("authenticate", prover.body(), credential=prover.member.key)
        assert code_of(without) == "PROOF_REQUIRED"

    @pytest.mark.usefixtures("required")
    def test_valkey_emptied_within_the_window(self, prover: Prover) -> None:
        nonce = secrets.token_hex(16)
        assert prover.ask(nonce=nonce).status_code == 200
        _flush()
        response = prover.ask(nonce=nonce)
        assert (response.status_code, code_of(response)) == (503, "SERVICE_UNAVAILABLE")
        assert 1 <= int(response["Retry-After"]) <= 61
        assert code_of(prover.ask()) == "SERVICE_UNAVAILABLE"

    def test_valkey_emptied_where_optional(self, prover: Prover) -> None:
        nonce = secrets.token_hex(16)
        assert prover.ask(nonce=nonce).status_code == 200
        _flush()
        assert prover.ask(nonce=nonce).status_code == 200
        assert code_of(prover.ask(nonce=nonce)) == "PROOF_REPLAYED"

    @pytest.mark.usefixtures("required")
    @pytest.mark.parametrize(
        ("since", "timestamp", "code"),
        [
            (-61, 0, "VALID"),
            (-60, 0, "SERVICE_UNAVAILABLE"),
            (-61, -1, "SERVICE_UNAVAILABLE"),
            (-1, 60, "VALID"),
            (0, 60, "SERVICE_UNAVAILABLE"),
        ],
    )
    def test_what_was_proven_before_the_memory_began(
        self, prover: Prover, since: int, timestamp: int, code: str
    ) -> None:
        """A proof of `timestamp` may have been used from a minute before it. Both in seconds from now."""
        _since(T0 + since)()
        assert code_of(prover.ask(timestamp=T0 + timestamp)) == code

    @pytest.mark.usefixtures("required")
    def test_the_memory_is_trusted_again_a_minute_after_it_began(self, prover: Prover, clock: Clock) -> None:
        _since(T0)()
        clock.now = T0 + 60
        assert code_of(prover.ask()) == "SERVICE_UNAVAILABLE"
        clock.now = T0 + 61
        assert prover.ask().status_code == 200

    @pytest.mark.usefixtures("required")
    def test_a_replay_is_known_however_short_the_memory(self, prover: Prover) -> None:
        _since(T0 - 1)()
        nonce = secrets.token_hex(16)
        assert code_of(prover.ask(nonce=nonce)) == "SERVICE_UNAVAILABLE"
        assert code_of(prover.ask(nonce=nonce)) == "PROOF_REPLAYED"
