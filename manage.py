#!/usr/bin/env python
"""Django's command line, with errors of configuration as one sentence."""

import os
import sys


def main() -> int:
    """Run the command named on the command line."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "licensing.settings")
    os.environ.setdefault("KEYWRIGHT_ROLE", "owner")
    try:
        from django.core.management import execute_from_command_line
    except ImportError:
        sys.stderr.write("Django is not installed here. Run `make run`, or use the virtual environment's python.\n")
        return 1
    from licensing.core.errors import ConfigurationError

    try:
        execute_from_command_line(sys.argv)
    except ConfigurationError as exc:
        sys.stderr.write(f"{exc}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
