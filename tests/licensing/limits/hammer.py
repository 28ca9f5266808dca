"""Takes from one bucket as fast as it can, as a process of its own: `hammer.py VALKEY_URL TIMES`; prints how often."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from django.conf import settings

settings.configure(VALKEY_URL=sys.argv[1], RATE_LIMIT_PER_MINUTE=1, RATE_LIMIT_BURST=30)

from licensing.core.valkey import valkey  # noqa: E402  after the settings
from licensing.services.limits import _TAKE  # noqa: E402

allowed = 0
for _ in range(int(sys.argv[2])):
    refused, _wait, _left = valkey().run_script(_TAKE, ["limit:i:inst_1"], [60_000_000, 30 * 60_000_000])
    allowed += not refused
sys.stdout.write(str(allowed))
