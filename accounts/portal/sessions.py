"""What is remembered between requests of a browser: when each session was last used, and messages for the next page."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from allauth.usersessions.models import UserSession
from django.conf import settings
from django.contrib.messages.storage.cookie import CookieStorage
from django.contrib.messages.storage.fallback import FallbackStorage
from django.contrib.messages.storage.session import SessionStorage
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponseBase

from licensing.core.problems import log
from licensing.core.source import client_address

NOTED_EVERY: Final = timedelta(minutes=1)


class LastSeenMiddleware:
    """Notes when and from where a session was last used, once a minute at most: a statement, and rarely a write."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self._get_response(request)
        # After the page: who signed out in it is not seen any more.
        key = request.session.session_key
        if key and request.user.is_authenticated:
            _note(key, client_address(request), datetime.now(UTC))
        return response


class _MessagesInCookie(CookieStorage):
    """Django's, held to TLS and this host by its name as the other cookies are."""

    cookie_name = f"{settings.COOKIE_PREFIX}messages"


class MessageStorage(FallbackStorage):
    """Messages in a cookie, those that are too long for one in the session."""

    storage_classes = (_MessagesInCookie, SessionStorage)


def _note(session_key: str, address: str, now: datetime) -> None:
    stale = UserSession.objects.filter(session_key=session_key, last_seen_at__lt=now - NOTED_EVERY)
    try:
        stale.update(last_seen_at=now, ip=address)
    except DatabaseError as exc:
        # What the page did is done: its answer must not be lost for this.
        log.warning("session.not_noted", error_type=type(exc).__name__)
