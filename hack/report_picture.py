"""Take the picture of a report for the README: `python -m hack.report_picture run/latest/report.html`.

Needs Debian's chromium; nothing is downloaded.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

PICTURE = Path(__file__).parents[1] / "docs" / "images" / "report.png"
WIDTH, HEIGHT = 1180, 1045
"""In pixels: from the verdict to the end of the answers."""

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--hide-scrollbars",
)


def main(report: Path) -> None:
    """Write `PICTURE` from the HTML file `report`."""
    chromium = shutil.which("chromium")
    if chromium is None:
        raise SystemExit("report_picture: no chromium on PATH\n     fix: apt-get install chromium")
    if not report.is_file():
        raise SystemExit(f"report_picture: {report} is not a file\n     fix: name a run's report.html")
    size = f"--window-size={WIDTH},{HEIGHT}"
    argv = [chromium, *FLAGS, size, f"--screenshot={PICTURE}", report.resolve().as_uri()]
    subprocess.run(argv, check=True, timeout=120, stderr=subprocess.DEVNULL)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) == 2 else Path("run/latest/report.html"))
