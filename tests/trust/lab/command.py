"""This script is `chaosext …`, which finds the trials' activities as well."""

import sys
from pathlib import Path

from chaosext.cli.main import main

if __name__ == "__main__":
    sys.path.append(str(Path(__file__).parents[3]))
    main()
