"""Asking the plugin API over HTTP, as plugins do: one method an endpoint, everything about a request changeable."""

import base64
import json
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.db import connections
from django.http import HttpResponse
from django.test import Client

from licensing.api import plugins
from licensing.core import lean
from licensing.crypto.proof import ProvenRequest, authority_of, compute_proof
from tests.licensing.cast import VERSION, Build, Member

Headers = Mapping[str, str]
MACHINE = "machine-0001"
LEAN = ("authenticate", "validate", "refresh", "usage")  # as licensing.wsgi has them


def _tidy_connections() -> None:
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:
            connection.close_if_unusable_or_obsolete()


# A request's end must not close the connection of the test that it is part of; Django's own client sees to the same.
lean._tidy_connections = _tidy_connections


class LeanClient(Client):
    """A test client that serves the plugin API as web processes do, past Django's own way to a view."""

    def __init__(self) -> None:
        super().__init__()
        self._lean = lean.LeanHandler(
            _not_lean, {f"/api/plugins/{name}{slash}": getattr(plugins, name) for name in LEAN for slash in ("", "/")}
        )
        self._django = self.handler
        self.handler = self._serve

    def _serve(self, environ: dict[str, Any]) -> HttpResponse:
        started: list[Any] = []
        body = self._lean(environ, lambda status, headers: started.extend((status, headers)))
        if not started:
            response: HttpResponse = self._django(environ)
            return response
        status, headers = started
        response = HttpResponse(b"".join(body), status=int(status.split()[0]))
        del response.headers["Content-Type"]
        for name, value in headers:
            response.headers[name] = value
        response.wsgi_request = object()  # the client looks for a request's own URL configuration there
        return response


def _not_lean(_environ: object, _start_response: object) -> list[bytes]:
    return []


class PluginApi:
    """The plugin API as a web process serves it."""

    def __init__(self) -> None:
        self.client = LeanClient()

    def post(
        self,
        endpoint: str,
        body: object = None,
        *,
        credential: str | None = None,
        headers: Headers | None = None,
        address: str = "127.0.0.1",
    ) -> HttpResponse:
        """POST to an endpoint of `/api/plugins/`; bytes are sent as they are, None as no body."""
        sent = {"Authorization": f"Bearer {credential}"} if credential is not None else {}
        raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        sent |= {"Content-Type": "application/json"} | dict(headers or {})
        content_type = sent.pop("Content-Type")
        response: HttpResponse = self.client.generic(
            "POST", f"/api/plugins/{endpoint}", raw, content_type=content_type, headers=sent, REMOTE_ADDR=address
        )
        return response

    def authenticate(
        self, member: Member, *, key: str | None = None, headers: Headers | None = None, **changes: Any
    ) -> HttpResponse:
        """Authenticate console-logger on one machine unless `changes` say otherwise; a value of None leaves it out."""
        return self.post("authenticate", asked(member, **changes), credential=key or member.key, headers=headers)

    def token(self, member: Member, *, key: str | None = None, **changes: Any) -> str:
        """A fresh token."""
        response = self.authenticate(member, key=key, **changes)
        assert response.status_code == 200, response.content
        token: str = answer(response)["token"]
        return token

    def validate(
        self, token: str, *, plugin: str = "console-logger", headers: Headers | None = None, address: str = "127.0.0.1"
    ) -> HttpResponse:
        """Ask what a token is worth."""
        body = {"plugin_name": plugin, "plugin_token": token}
        return self.post("validate", body, credential=token, headers=headers, address=address)

    def refresh(self, token: str, *, headers: Headers | None = None, **body: Any) -> HttpResponse:
        """Refresh a token, with no body unless there is something to say."""
        return self.post("refresh", body or None, credential=token, headers=headers)

    def deactivate(self, token: str, *, headers: Headers | None = None) -> HttpResponse:
        """Give an installation's place back."""
        return self.post("deactivate", credential=token, headers=headers)


def asked(member: Member, **changes: Any) -> dict[str, Any]:
    """The body of an authenticate request."""
    body = {
        "plugin_name": "console-logger",
        "plugin_version": VERSION,
        "customer_id": member.id,
        "installation": {"fingerprint": MACHINE},
        **changes,
    }
    return {name: value for name, value in body.items() if value is not None}


def signed(member: Member, **changes: Any) -> dict[str, Any]:
    """What turns `asked` into a request of the member's api-logger build."""
    return {"plugin_name": "api-logger", "plugin_signature": member.build.signature.hex(), **changes}


def proof_headers(
    build: Build, endpoint: str, body: object, *, credential: str, now: float, nonce: str, secret: bytes | None = None
) -> dict[str, str]:
    """The three headers of a request proof for a POST."""
    raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    request = ProvenRequest("POST", authority_of(settings.PUBLIC_URL), f"/api/plugins/{endpoint}", credential, raw)
    timestamp = int(now)
    return {
        "X-Keywright-Proof": compute_proof(secret or build.secret, request, timestamp=timestamp, nonce=nonce),
        "X-Keywright-Timestamp": str(timestamp),
        "X-Keywright-Nonce": nonce,
    }


def answer(response: HttpResponse) -> dict[str, Any]:
    """The JSON object of a response."""
    body: dict[str, Any] = json.loads(response.content)
    return body


def code_of(response: HttpResponse) -> str:
    """The code of a problem or verdict; `VALID` for an authenticate or refresh that was granted."""
    body = answer(response)
    return str(body.get("code", "VALID" if body.get("success") else ""))


def claims(token: str) -> dict[str, Any]:
    """What a JWS says, unverified."""
    payload = token.split(".")[1]
    said: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return said
