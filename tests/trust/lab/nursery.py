"""Real processes for the price of a fork: `python -m tests.trust.lab.nursery SOCKET ETC`.

It has everything imported that `chaosext` imports, and forks one process a request: a line of JSON on a connection to
SOCKET, `{"call": "module:function" | "", "argv": [...], "env": {...}, "cwd": "...", "out": "..."}`. It answers
`{"pid": 1}` and, when that process has ended, `{"status": -9, "peak_mib": 80}` (minus the signal, else the exit code;
the most memory that it, or a child that it waited for, has held). Without `call` the argv is executed (an interpreter
of its own). The directory ETC is laid over /etc, for these processes only.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from typing import Any

from chaosext.run.shutdown import SIGNALS
from tests.trust.lab.activities import mark
from tests.trust.lab.clock import now_s
from tests.trust.lab.listening import listen

BEGIN = "TRUST_BEGIN_AT_S"
"""When the process is to begin, in seconds of the boot clock; it leaves the mark `begun`."""

PRELOADED = (
    "chaosext.actions",
    "chaosext.cli.main",
    "chaosext.cli.cleanup",
    "chaosext.cli.lane_text",
    "chaosext.cli.listeners",
    "chaosext.cli.run",
    "chaosext.cli.terminal",
    "chaosext.controls",
    "chaosext.probes",
    "chaosext.checks.xds_synced",
    "chaosext.report.render.formats",
    "chaosext.report.render.html.page",
    "chaosext.report.render.junit",
    "chaosext.report.render.markdown",
    "chaosext.report.render.traces",
    "chaosext.run.chaostoolkit",
    "chaosext.run.monitor.progress",
    "chaosext.run.runner",
    "chaosext.run.stdio",
    "chaosext.run.monitor.wait_steady",
    "chaoslib.caching",
    "chaoslib.configuration",
    "chaoslib.control",
    "chaoslib.experiment",
    "chaoslib.hypothesis",
    "chaoslib.run",
    "chaoslib.secret",
    "encodings.ascii",
    "encodings.idna",
    "encodings.unicode_escape",
    "encodings.utf_8_sig",
    "jinja2",
    "junitparser",
    "kubernetes.client",
    "kubernetes.config",
    "rich.console",
    "tests.trust.lab.activities",
    "xml.dom.minidom",
    "xml.etree.ElementTree",
    "yaml",
)
CLONE_NEWNS, MS_REC, MS_SLAVE, MS_RDONLY = 0x00020000, 0x4000, 0x80000, 1


def apart(etc: str) -> None:
    """In a mount namespace of its own, `etc` laid over /etc. Mounts of others still arrive."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS) or libc.mount(b"none", b"/", None, MS_REC | MS_SLAVE, None):
        raise OSError(ctypes.get_errno(), "unshare")
    subprocess.run(
        ["mount", "-t", "overlay", "overlay", "-o", f"ro,lowerdir={etc}:/etc", "/etc"],
        check=True,
        stdin=subprocess.DEVNULL,
    )


def serve(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(path)
        door.listen(64)
        print("ready", flush=True)
        while not select.select([door, sys.stdin], [], [])[0].count(sys.stdin):  # it ends with its parent
            guest, _ = door.accept()
            with guest:
                if os.fork() == 0:
                    door.close()
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    attend(guest)
                    os._exit(0)


def attend(guest: socket.socket) -> None:
    """Fork the process that is asked for, and stay until it has ended."""
    lines = guest.makefile("rw")
    request = json.loads(lines.readline())
    pid = os.fork()
    if pid == 0:
        guest.close()
        live(request)
    print(json.dumps({"pid": pid}), file=lines, flush=True)
    _, status, used = os.wait4(pid, 0)
    ended = {"status": os.waitstatus_to_exitcode(status), "peak_mib": used.ru_maxrss / 1024}
    with contextlib.suppress(BrokenPipeError):
        print(json.dumps(ended), file=lines, flush=True)


def live(request: dict[str, Any]) -> None:
    """Be the process: from here on nothing tells it from one that was executed."""
    os.setsid()
    for number in SIGNALS:  # a signal that is ignored (nohup) stays so, and a trial sends all of them
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    out = os.open(request["out"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (out, 1), (out, 2)):
        os.dup2(source, target)
    os.closerange(3, 256)
    if BEGIN in request["env"]:  # at this very moment
        time.sleep(max(0.0, float(request["env"][BEGIN]) - now_s()))
        mark("begun")
    code = 70
    try:
        if not request["call"]:
            os.execve(request["argv"][0], request["argv"], request["env"])  # noqa: S606
        listen()
        module, _, function = request["call"].partition(":")
        sys.argv = ["chaosext", *request["argv"]]
        getattr(importlib.import_module(module), function)(request["argv"])
        code = 0
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    apart(sys.argv[2])
    for name in PRELOADED:
        importlib.import_module(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    gc.collect()
    gc.freeze()
    serve(sys.argv[1])
