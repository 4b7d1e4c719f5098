"""Take the pictures of the documentation, with Debian's chromium: nothing is downloaded.

    python -m hack.report_picture run/latest

takes one of a run's report, and of the rehearsal and the gate of the bundled snapshot.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"

SIZES = {
    "report.png": (1000, 980, 0.8),
    "rehearsal.png": (1000, 900, 0.8),
    "gate.png": (1000, 1150, 0.75),
    "phone.png": (390, 820, 1.0),
}
"""Picture -> width and height of the window, in pixels, and the scale of the picture: the first screen of each page."""

MOST_BYTES = 150_000
"""Every clone of the repository has the pictures."""

SNAPSHOT, PLAN, AT = (
    "examples/snapshots/story.json",
    "examples/cutovers/all-workers.yaml",
    "2026-11-23T21:00:00Z",
)

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--hide-scrollbars",
)


def main(run: Path) -> None:
    """Write all pictures; the report is that of the run in the directory `run`."""
    chromium = shutil.which("chromium")
    if chromium is None:
        raise SystemExit("report_picture: no chromium on PATH\n     fix: apt-get install chromium")
    with tempfile.TemporaryDirectory() as folder:
        for picture, page in pages(run, Path(folder)).items():
            _take(chromium, page, IMAGES / picture, SIZES[picture])


def pages(run: Path, folder: Path) -> dict[str, Path]:
    """Make the pages in `folder`. Returns picture -> its page."""
    report, rehearsal, gate = (folder / name for name in ("report.html", "rehearsal.html", "gate.html"))
    _chaosext("report", str(run), "--format", "html", "-o", str(report))
    _chaosext("rehearse", "--snapshot", SNAPSHOT, "--report", str(rehearsal))
    asked = ("--cutover", PLAN, "--snapshot", SNAPSHOT, "--at", AT)
    _chaosext("gate", *asked, "--report", str(gate), fails_with=10)
    return {"report.png": report, "rehearsal.png": rehearsal, "gate.png": gate, "phone.png": rehearsal}


def _chaosext(*words: str, fails_with: int = 0) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "chaosext", *words], cwd=ROOT, check=False, stdout=subprocess.DEVNULL
    )
    if done.returncode != fails_with:
        raise SystemExit(f"report_picture: chaosext {' '.join(words)} ended with {done.returncode}")


def _take(chromium: str, page: Path, picture: Path, size: Sequence[float]) -> None:
    width, height, scale = size
    window = (f"--window-size={width},{height}", f"--force-device-scale-factor={scale}")
    argv = [chromium, *FLAGS, *window, f"--screenshot={picture}", page.as_uri()]
    subprocess.run(argv, check=True, timeout=120, stderr=subprocess.DEVNULL)
    if picture.stat().st_size > MOST_BYTES:
        raise SystemExit(
            f"report_picture: {picture.name} has {picture.stat().st_size} bytes: make it smaller"
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) == 2 else Path("run/latest"))
