"""The Celery application: three kinds of worker, and the beat that sweeps (DESIGN §1).

Messages are hints. Every job finds its work in PostgreSQL, so a message that is lost costs an interval, and one that
comes twice costs nothing.
"""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "licensing.settings")

app = Celery("keywright")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
