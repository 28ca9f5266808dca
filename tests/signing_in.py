"""Signing in to the portal as a browser does, for tests."""

import time
from typing import Final

from django.http import HttpResponse
from django.test import Client

PASSWORD: Final = "correct horse battery staple"


def code_for(secret: str) -> str:
    """What an authenticator app with this secret shows now."""
    from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value

    return str(format_hotp_value(hotp_value(secret, int(time.time()) // 30)))


def sign_in(client: Client, email: str = "owner@acme.example", password: str = PASSWORD, **more: str) -> HttpResponse:
    """Send the first form: address and password."""
    return client.post("/account/login", {"login": email, "password": password, **more})
