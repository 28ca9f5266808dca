"""No secret is written anywhere: not to a log at any level, not to the audit log, the outbox or any other table."""

import base64
import io
import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
import structlog
from allauth.account.utils import user_pk_to_url_str
from django.contrib.auth.tokens import default_token_generator
from django.db import connection
from django.db.utils import ProgrammingError
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.models import User
from accounts.services.api_keys import revoke_api_key, rotate_api_key
from accounts.services.invitations import invitation_token, invite_member, withdraw_invitation
from licensing import selectors
from licensing.core.clock import from_epoch
from licensing.core.logs import configuration
from licensing.core.models import AuditEvent, OutboxEvent
from licensing.services.key_lifecycle import rotate
from tests.licensing.api.conditions import CONDITIONS, Scene
from tests.licensing.api.driver import PluginApi, answer, asked, proof_headers, signed
from tests.licensing.cast import ACTOR, T0, Cast, make_key

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("clock", "empty_valkey")]


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """Everything that is logged, at DEBUG and through the server's own formatter."""
    before = structlog.get_config()
    shown = configuration(as_json=True, level="DEBUG")
    structlog.configure(cache_logger_on_first_use=False)
    configurator = logging.config.DictConfigurator(shown)
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(configurator.configure_formatter(shown["formatters"]["structured"]))
    handler.setLevel(logging.DEBUG)
    loggers = [logging.getLogger(), *(logging.getLogger(name) for name in shown["loggers"])]
    levels = [each.level for each in loggers]
    for each in loggers:
        if each.level < logging.CRITICAL:
            each.setLevel(logging.DEBUG)
    logging.getLogger().addHandler(handler)
    yield written
    logging.getLogger().removeHandler(handler)
    for each, level in zip(loggers, levels, strict=True):
        each.setLevel(level)
    structlog.configure(**before)


def spellings(secret: str | bytes) -> set[str]:
    """The ways in which a secret could have been written down."""
    raw = secret if isinstance(secret, bytes) else secret.encode()
    text = {secret} if isinstance(secret, str) else set()
    encoded = {base64.b64encode(raw).decode().rstrip("="), base64.urlsafe_b64encode(raw).decode().rstrip("=")}
    return text | encoded | {raw.hex(), repr(raw)[2:-1]}


def run_everything(api: PluginApi, cast: Cast) -> set[str]:
    """Every endpoint, good and bad; returns every secret that took part."""
    acme, build = cast.acme, cast.acme.build
    body = asked(acme, **signed(acme))
    proven = proof_headers(build, "authenticate", body, credential=acme.key, now=T0, nonce="0123456789abcdef")
    granted = answer(api.post("authenticate", body, credential=acme.key, headers=proven))
    api.post("authenticate", body, credential=acme.key, headers=proven)
    refreshed = answer(api.refresh(granted["token"]))
    tokens = [granted["token"], refreshed["token"]]
    leases = [granted["offline_lease"], refreshed["offline_lease"]]
    for token in tokens:
        api.validate(token, plugin="api-logger")
        api.validate(token, plugin="another")
        api.validate(token[:-3] + "AAA", plugin="api-logger")
    api.post("authenticate", {"plugin_name": acme.key}, credential=acme.key)
    api.post("authenticate", acme.key.encode(), credential=acme.key)
    api.post("validate", {"plugin_name": "x", "plugin_token": leases[0]}, credential=tokens[0])
    api.post("authenticate", body, credential=acme.key, headers={"X-API-Key": cast.globex.key})
    api.client.get(f"/api/plugins/nothing?token={tokens[0]}&key={acme.key}")
    api.deactivate(tokens[1])
    second = make_key(acme.customer)
    rotated = rotate_api_key(api_key=second.api_key, overlap_seconds=0, actor=ACTOR, now=from_epoch(T0))
    revoke_api_key(api_key=rotated.api_key, actor=ACTOR, now=from_epoch(T0))
    api.authenticate(acme, key=rotated.key)
    rotate(purpose="token", emergency=True, actor=ACTOR, now=from_epoch(T0))
    secrets = [acme.key, cast.globex.key, second.key, rotated.key, *tokens, *leases]
    secrets += [token.rpartition(".")[2] for token in tokens]
    secrets += [proven["X-Keywright-Proof"].removeprefix("v1=")]
    return {spelled for secret in (*secrets, build.secret, build.signature) for spelled in spellings(secret)}


def assert_free_of(text: str, secrets: set[str]) -> None:
    found = [place for place, secret in enumerate(sorted(secrets)) if secret in text]
    assert not found, f"{len(found)} secrets were written"


def test_the_log(api: PluginApi, cast: Cast, log: io.StringIO) -> None:
    secrets = run_everything(api, cast)
    written = log.getvalue()
    assert '"event": "request"' in written
    assert '"level": "debug"' in written
    assert_free_of(written, secrets)


def test_the_log_while_statements_are_recorded(api: PluginApi, cast: Cast, log: io.StringIO) -> None:
    """Django logs statements with their parameters when it records them, as it does wherever DEBUG is on."""
    with CaptureQueriesContext(connection):
        secrets = run_everything(api, cast)
    assert_free_of(log.getvalue(), secrets)


def test_the_log_of_an_error_that_nobody_expected(
    api: PluginApi, cast: Cast, log: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> None:
        raise ProgrammingError(f"relation does not exist: {cast.acme.key}")

    monkeypatch.setattr(selectors, "load_catalogue", lambda: fail(None))
    response = api.authenticate(cast.acme)
    assert response.status_code == 500
    assert answer(response).keys() == {"success", "type", "title", "status", "detail", "code", "request_id"}
    assert cast.acme.key not in response.content.decode()
    written = log.getvalue()
    assert "ProgrammingError" in written
    assert answer(response)["request_id"] in written
    assert_free_of(written, spellings(cast.acme.key))


def test_the_audit_log_and_the_outbox(api: PluginApi, cast: Cast) -> None:
    scene = Scene(api, cast, cast.acme)
    secrets = run_everything(api, cast)
    CONDITIONS["BUILD_UNKNOWN"](scene)
    scene.ask()
    assert AuditEvent.objects.count() > 10
    assert OutboxEvent.objects.count() > 5
    for model in (AuditEvent, OutboxEvent):
        assert_free_of(json.dumps(list(model.objects.values()), default=str), secrets)


def test_any_table(api: PluginApi, cast: Cast) -> None:
    """Rows as PostgreSQL writes them, bytes in hex: what a dump of the database would hold."""
    secrets = run_everything(api, cast)
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f'SELECT string_agg(t::text, E"\\n") FROM "{table}" t'.replace('E"\\n"', "E'\\n'"))  # noqa: S608
            (text,) = cursor.fetchone()
            assert_free_of(text or "", secrets)


def test_what_is_shown_of_the_servers_own_objects(cast: Cast, api: PluginApi) -> None:
    """A repr may end up in a traceback."""
    from licensing.services.authenticate import Caller
    from licensing.services.proofs import SentRequest

    issued = make_key(cast.acme.customer)
    sent = SentRequest("POST", "/", b"body-secret", proof="v1=proof-secret")
    shown = repr([issued, Caller(cast.acme.key, "127.0.0.1", "req"), sent, cast.acme])
    for secret in (issued.key, cast.acme.key, "body-secret", "proof-secret", cast.acme.build.secret.hex()):
        assert secret not in shown


@pytest.mark.parametrize("known", [True, False])
def test_the_log_of_links_that_came_by_mail(cast: Cast, log: io.StringIO, known: bool) -> None:
    """Whoever has them sets a password or becomes a member: no line may show them, nor that of a refused form."""
    person = User.objects.create_user("ada@acme.example")
    invited = invite_member(
        customer=cast.acme.customer, email=person.email, role="viewer", actor=ACTOR, now=datetime.now(UTC)
    )
    reset_key = default_token_generator.make_token(person)
    secrets = {reset_key, invitation_token(invited)}
    if not known:
        withdraw_invitation(invitation=invited, actor=ACTOR, now=datetime.now(UTC))
        User.objects.filter(pk=person.pk).update(password="changed since")
    paths = [
        f"/account/reset/{user_pk_to_url_str(person)}/{reset_key}",
        f"/account/invitation/{invitation_token(invited)}",
    ]
    client = Client(enforce_csrf_checks=True, raise_request_exception=False)
    for path in paths:
        client.get(path)
        assert client.post(path, {"password1": "x"}).status_code == 403
    written = log.getvalue()
    assert written.count('"event": "request"') == 4
    assert '"path": "/account/reset/"' in written
    assert_free_of(written, secrets)
