"""The Celery application: three kinds of worker, and the beat that sweeps (DESIGN §1).

Messages are hints. Every job finds its work in PostgreSQL, so a message that is lost costs an interval, and one that
comes twice costs nothing.
"""

import os

from celery import Celery
from celery.signals import celeryd_init, worker_ready, worker_shutdown
from django.conf import settings

from licensing.core.workers import Beat
from licensing.startup import or_stop, require_secrets

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "licensing.settings")
or_stop(lambda: settings.ROLE)  # reads the settings: an error in them is one sentence here, a traceback later

app = Celery("keywright")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.set_default()  # for every thread, not just the one that imports this
app.autodiscover_tasks()


@celeryd_init.connect
def insist_on_secrets(**_kwargs: object) -> None:
    """Stop a worker that lacks the secrets of its role before it takes a job."""
    or_stop(require_secrets)


_beats: list[Beat] = []


@worker_ready.connect
def say_that_it_is_there(**_kwargs: object) -> None:
    """Let operators see this worker."""
    _beats.append(Beat(settings.ROLE))
    _beats[-1].start()


@worker_shutdown.connect
def say_that_it_ends(**_kwargs: object) -> None:
    """Let operators see that it has ended, not that it went silent."""
    while _beats:
        _beats.pop().stop()
