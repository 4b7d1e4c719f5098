"""The oracle lies beside the package: found in the checkout, after whatever is installed."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[3]))
