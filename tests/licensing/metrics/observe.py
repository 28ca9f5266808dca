"""Counts a little as a process of its own and ends: `observe.py TIMES`, with PROMETHEUS_MULTIPROC_DIR set."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from licensing.core import metrics

for _ in range(int(sys.argv[1])):
    metrics.observe_request("/api/plugins/validate", "VALID", 0.002)
    metrics.limiter.labels("allowed").inc()
    metrics.activations.inc()
metrics.snapshot_entries.set(int(sys.argv[1]))
metrics.valkey_away.set(1)
