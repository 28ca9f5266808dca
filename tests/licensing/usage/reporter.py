"""Reports batches of three events as a process of its own: `reporter.py WHO TIMES`; prints how many were counted."""

import os
import sys
from datetime import date
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
os.environ["DJANGO_SETTINGS_MODULE"] = "licensing.settings"

import django

django.setup()

from licensing.services.usage import Day, count_batch  # noqa: E402  after the setup

day = Day("cust_123", "console-logger", date(2026, 3, 1))
counted = 0
for number in range(int(sys.argv[2])):
    batch_id = f"batch-{sys.argv[1]}-{number}"
    counted += count_batch(day=day, batch_id=batch_id, totals={"event:console_logging": 3}, quota=100)[0]
sys.stdout.write(str(counted))
