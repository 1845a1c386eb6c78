"""`python -m a2a_server` is the command `a2a-server`."""

from __future__ import annotations

import sys

from a2a_server.cli import main

if __name__ == "__main__":
    sys.exit(main())
