"""Printed commands are tried on the oracle's API server, which lies beside the package."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2]))
