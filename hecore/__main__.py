"""`python -m hecore` is `hecore`."""

from __future__ import annotations

import sys

from hecore.cli import main

if __name__ == "__main__":
    sys.exit(main())
