"""Structured logs: JSON lines in production, readable ones in development; no secret reaches either.

Code never logs a credential; should one slip through all the same (a library's message, a URL), the last processor
blanks anything that has the shape of a key or a token.
"""

import re
from typing import Any

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from licensing.core.request_id import add_request_id

_SECRET_SHAPES = re.compile(
    r"(?:[a-z]{2,8}_(?:live|test)_|[a-z]{2,6}op_|pat_)[0-9A-Za-z]{12,}"  # API, operator and registry keys
    r"|eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*"  # JWS
    r"|(?<=://)[^/\s:@]*:[^/\s@]+(?=@)"  # user:password in a URL
    r"|(?:(?<=/account/reset/)|(?<=/account/invitation/))[^\s\"'<>]+"  # mailed links: a password, an organisation
)


def blank_secrets(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Replace key- and token-shaped text anywhere in the event."""
    return {name: _blank(value) for name, value in event.items()}


def _blank(value: Any) -> Any:
    if isinstance(value, str):
        return _SECRET_SHAPES.sub("[secret]", value)
    if isinstance(value, dict):
        return {name: _blank(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_blank(item) for item in value]
    return value


def configuration(*, as_json: bool, level: str) -> dict[str, Any]:
    """Return Django's LOGGING dictionary and configure structlog to feed the same handler."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        add_request_id,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    renderer: Processor = (
        structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer(colors=False)
    )
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "structured": {
                "()": structlog.stdlib.ProcessorFormatter,
                "foreign_pre_chain": shared,
                "processors": [
                    structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                    blank_secrets,
                    renderer,
                ],
            }
        },
        "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "structured"}},
        "root": {"handlers": ["console"], "level": level},
        "loggers": {
            # Django's own line per 4xx/5xx repeats the access line without the request id.
            "django.request": {"level": "CRITICAL"},
            "django.security.DisallowedHost": {"level": "CRITICAL"},
            "django.server": {"level": "WARNING"},
            # A job every two seconds is three lines every two seconds; what fails is told all the same.
            "celery.beat": {"level": "WARNING"},
            "celery.worker.strategy": {"level": "WARNING"},
            "celery.app.trace": {"level": "WARNING"},
        },
    }
