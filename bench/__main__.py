"""`python -m hecore.bench`."""

import sys

from hecore.bench.cli import main

if __name__ == "__main__":
    sys.exit(main())
