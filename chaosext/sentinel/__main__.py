"""`python3 -m chaosext.sentinel`: run one sentinel, configured by its environment. SIGTERM ends it immediately.

Exits with code 20 and one line that names the variable if the environment is invalid.
"""

from __future__ import annotations

import os
import signal
import sys
from threading import Thread
from typing import NoReturn

from chaosext.model.errors import Refused
from chaosext.model.printable import say
from chaosext.sentinel.sample_log import Journal
from chaosext.sentinel.sampler import Sentinel
from chaosext.sentinel.sentinel_options import SentinelOptions
from chaosext.sentinel.server import Server


def main() -> NoReturn:
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(
            each, lambda *_: os._exit(0)
        )  # records are already written; as PID 1 it ignores unhandled signals
    try:
        settings = SentinelOptions.read(os.environ)
        journal = Journal(settings.directory, settings.plan.run)
        sentinel = Sentinel(settings.node, settings.plan, journal)
        server = _listen(settings, sentinel, journal)
    except Refused as refused:
        say(f"chaosext.sentinel: {refused}", err=True)
        sys.exit(refused.exit_code)
    Thread(target=server.serve_forever, daemon=True).start()
    sentinel.run()
    sys.exit(1)


def _listen(settings: SentinelOptions, sentinel: Sentinel, journal: Journal) -> Server:
    try:
        return Server(settings.host, settings.port, settings.token, sentinel, journal)
    except OSError as error:
        where = f"CHAOSEXT_HOST_IP {settings.host}, CHAOSEXT_PORT {settings.port}"
        raise Refused(f"{where}: {error.strerror}") from error


if __name__ == "__main__":
    main()
