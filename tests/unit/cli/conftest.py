"""What the command line shows is made from the same runs as the reports."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "report"))
