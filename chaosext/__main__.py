"""`python -m chaosext`: the command, if its script is not on PATH."""

from __future__ import annotations

from chaosext.cli.main import main

if __name__ == "__main__":
    main()
