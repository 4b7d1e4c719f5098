"""Stands in for `chaosext` in the plugin's own tests: notes how it was called, and says what was prepared for it."""

import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path

here = Path(os.environ["PROGRAM_HERE"])
words = sys.argv[1:]


def note(line: str) -> None:
    with (here / "calls").open("a") as calls:
        print(line, file=calls)


def leave(number: int, _: object) -> None:
    note("healed")
    sys.exit(128 + number)


signal.signal(signal.SIGTERM, leave)
signal.signal(signal.SIGINT, signal.SIG_IGN)
note(" ".join(words[: -words[::-1].index("--run-dir") - 1] if "--run-dir" in words else words))
print("progress of", words[0], file=sys.stderr)

match words:
    case ["testbed", "up", *_] if (here / "up-fails").exists():
        sys.exit(30)
    case ["testbed", "status", *_] if (here / "unsteady").exists():
        print(json.dumps({"missing": ["node w is not Ready"]}))
        sys.exit(10)
    case ["run", *_] if (here / "hangs").exists():
        (here / "hanging").touch()
        time.sleep(600)
    case ["run", *_] if (here / "killed").exists():
        os.kill(os.getpid(), signal.SIGKILL)
    case ["run", *_] if (here / "refusal.json").exists():
        print((here / "refusal.json").read_text())
        sys.exit(0 if "refused" in words else 20)
    case ["run", *_]:
        note(f"TTL {os.environ.get('CHAOSEXT_TTL_S')}")
        prepared = next((here / "prepared").glob("2*"))
        shutil.copytree(prepared, Path(words[words.index("--run-dir") + 1]) / prepared.name)
        print((prepared / "result.json").read_text())
        sys.exit(0 if "deviated" in words else 10)
