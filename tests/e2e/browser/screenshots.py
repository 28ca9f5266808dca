"""`python -m tests.e2e.browser.screenshots OUTDIR`: every page, in both themes and both widths, as PNG files."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest


def main() -> int:
    """Run the one test that writes them."""
    if len(sys.argv) != 2:
        print("usage: python -m tests.e2e.browser.screenshots OUTDIR", file=sys.stderr)  # noqa: T201
        return 2
    os.environ["SCREENSHOTS_DIR"] = str(Path(sys.argv[1]).resolve())
    return int(pytest.main(["-q", "-p", "no:randomly", str(Path(__file__).with_name("test_screenshots.py"))]))


if __name__ == "__main__":
    raise SystemExit(main())
