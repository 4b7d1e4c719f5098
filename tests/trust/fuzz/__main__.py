"""`python -m tests.trust.fuzz COUNT SEED [SUBJECT…]`: a line of JSON. `… 0 SUBJECT/SEED`: that input once more.

A process of its own: its home is a fresh directory, its cluster and nodes answer from a sample.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import tempfile
from time import monotonic


def main() -> None:
    count, seed, *names = sys.argv[1:]
    with tempfile.TemporaryDirectory() as directory:
        move_into(directory)
        from tests.trust.fuzz.play import again, play

        started_s = monotonic()
        played = play(int(count), seed, names) if int(count) else again(seed)
    print(json.dumps({**played, "seconds": round(monotonic() - started_s, 1)}))


def move_into(directory: str) -> None:
    """Nothing of this machine's owner may be read, nor any command be found."""
    logging.disable()
    for name in [name for name in os.environ if name.startswith(("CHAOSEXT_", "KUBE", "XDG_"))]:
        del os.environ[name]
    os.environ |= {"HOME": directory, "PATH": directory, "KUBECONFIG": f"{directory}/none"}


if __name__ == "__main__":
    main()
