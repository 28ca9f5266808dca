"""A process whose PUBLIC_URL is https: its cookies are held to TLS and this host, and one can sign in with them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import connection
from psycopg.conninfo import make_conninfo

from accounts.models import User
from tests.signing_in import PASSWORD

ROOT = Path(__file__).resolve().parents[3]
_OVER_TLS = """
import json, re, django
django.setup()
from django.conf import settings
from django.test import Client
client = Client(enforce_csrf_checks=True, raise_request_exception=False)
host = {"secure": True, "HTTP_HOST": "portal.example", "HTTP_ORIGIN": "https://portal.example"}
kept, statuses = {}, []

def note(answer):
    statuses.append(answer.status_code)
    kept.update({name: morsel.OutputString() for name, morsel in answer.cookies.items()})
    return answer

form = note(client.get("/account/login", **host)).content.decode()
token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', form)[1]
asked = {"login": "tls@acme.example", "password": PASSWORD, "csrfmiddlewaretoken": token}
note(client.post("/account/login", {**asked, "csrfmiddlewaretoken": ""}, **host))
note(client.post("/account/login", asked, **host))
page = note(client.get("/account", **host)).content.decode()
token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)[1]
note(client.post("/account", {"name": "Tess", "csrfmiddlewaretoken": token}, **host))
note(client.post("/account/theme", {"theme": "dark", "csrfmiddlewaretoken": token}, **host))
print(json.dumps({"cookies": kept, "statuses": statuses}))
"""


@pytest.fixture
def over_tls(transactional_db: None) -> Any:
    """What a process whose PUBLIC_URL is https answers to somebody who signs in."""
    User.objects.create_user("tls@acme.example", password=PASSWORD)
    database = make_conninfo(settings.DATABASE_URL, dbname=connection.settings_dict["NAME"])
    changes = {"DATABASE_URL": database, "PUBLIC_URL": "https://portal.example", "ALLOWED_HOSTS": ""}
    done = subprocess.run(
        [sys.executable, "-c", _OVER_TLS.replace("PASSWORD", repr(PASSWORD))],
        cwd=ROOT,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "licensing.settings", **changes},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_over_tls_every_cookie_is_held_to_this_host_and_sign_in_works(over_tls: Any) -> None:
    assert over_tls["statuses"] == [200, 403, 302, 200, 302, 302]
    assert User.objects.get(email="tls@acme.example").name == "Tess"
    cookies = over_tls["cookies"]
    assert set(cookies) == {"__Host-session", "__Host-csrf", "__Host-messages", "__Host-theme"}
    for name, written in cookies.items():
        morsel = SimpleCookie(written)[name]
        assert morsel["secure"], name
        assert morsel["httponly"], name
        assert morsel["path"] == "/", name
        assert morsel["domain"] == "", name
        assert morsel["samesite"] == "Lax", name
