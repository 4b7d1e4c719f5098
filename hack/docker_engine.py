"""A Docker Engine that answers: the one that runs already, or else one that is installed and started.

An engine that runs, or that has a configuration of its own, is never restarted and never reconfigured.

    python -m hack.docker_engine        (make engine)
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from chaosext.cli.main import invoke
from chaosext.model.errors import ChaosextError, Refused
from chaosext.model.paths import state_home
from chaosext.testbed.commands import run_command
from chaosext.testbed.containers import engine_elsewhere, engine_problem
from chaosext.testbed.stage_progress import Progress
from hack.apt import install_packages, is_debian

if TYPE_CHECKING:
    from collections.abc import Callable

    from chaosext.testbed.stage_progress import Stage

CAP_SYS_RESOURCE = 24  # linux/capability.h
DAEMON_CONFIGURATION = Path("/etc/docker/daemon.json")
RUNTIME_WRAPPER = Path("/usr/local/lib/chaosext/runc-without-sys-resource")
RUNTIME_NAME = "chaosext"
PID_FILES = {
    Path("/var/run/docker.pid"): "dockerd",
    Path("/var/run/docker/containerd/containerd.pid"): "containerd",
}
"""dockerd's own, and that of the containerd that it runs -> the command each is of."""

START_TIMEOUT_S = 60.0
ENGINE_PACKAGES = ("docker.io", "iptables")

WRAPPER_SCRIPT = """\
#!/bin/sh
# Installed by chaosext. This machine may not grant CAP_SYS_RESOURCE, so runc can't start what asks for it
# ("unable to apply caps"): take it out of the container's and of the exec's specification, then be runc.
previous=
for word; do
  case "$previous" in
    --bundle|-b) specification=$word/config.json ;;
    --process|-p) specification=$word ;;
    *) specification= ;;
  esac
  if [ -n "$specification" ] && [ -f "$specification" ]; then
    sed -i -e 's/"CAP_SYS_RESOURCE",//g' -e 's/,"CAP_SYS_RESOURCE"//g' \\
      -e 's/"oomScoreAdj":-[0-9]*/"oomScoreAdj":0/g' "$specification"
  fi
  previous=$word
done
exec runc "$@"
"""


def ensure_engine(progress: Progress) -> None:
    """Return when `docker info` answers, after installing and starting Docker where that is needed.

    A dockerd that runs already is waited for. Raises `Refused`, before anything is touched, when there will be no
    engine here: it says what is missing and how to get it.
    """
    if not (problem := engine_problem()):
        return
    if refusal := engine_elsewhere(problem):
        raise refusal
    if pid := running_daemon():
        await_daemon(pid, progress)
        return
    refuse_unless_installable()
    with progress.stage("Start Docker Engine") as stage:
        if lacks_sys_resource(Path("/proc/self/status").read_text()):
            stage.note("CAP_SYS_RESOURCE is missing here: containers start without it")
            install_runtime_wrapper()
        if shutil.which("dockerd") is None:
            stage.note("installing docker.io with apt-get")
            install_packages(ENGINE_PACKAGES)
        _start(stage)


def running_daemon(proc: Path = Path("/proc")) -> int | None:
    """The process of this machine's dockerd, None without one. Those of nested PID namespaces don't count."""
    for comm in proc.glob("[0-9]*/comm"):
        with suppress(OSError):
            if comm.read_text().strip() == "dockerd" and _is_in_our_namespace(comm.parent):
                return int(comm.parent.name)
    return None


def _is_in_our_namespace(process: Path) -> bool:
    """`NSpid` has a number for each PID namespace that the process is in, from ours inwards (proc(5))."""
    fields = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines() if ":" in line)
    return len(fields.get("NSpid", "").split()) <= 1


def await_daemon(pid: int, progress: Progress) -> None:
    """Wait for a dockerd that runs but is slow, or just starting. Raises `Refused` when it stays silent."""
    with progress.stage(f"Wait for dockerd (process {pid})"):
        if not _answers_in_time():
            raise Refused(
                f"dockerd runs as process {pid} but has not answered within {START_TIMEOUT_S:g} s",
                "look at its log; restart it, or end it for one to be started here",
            )


def refuse_unless_installable() -> None:
    """Raise `Refused` with the first reason why no engine can be installed and started on this machine."""
    fix = "install Docker Engine 20.10 or newer (Debian: apt-get install docker.io), start it, and run this again"
    installed = shutil.which("dockerd") is not None
    missing = "Docker Engine is installed, but does not answer" if installed else "Docker Engine is missing"
    if os.geteuid() != 0:
        raise Refused(f"{missing}, and only root may install and start it", f"{fix}, or run this as root")
    if not installed and not is_debian():
        raise Refused(f"{missing}, and this installs it on Debian and Ubuntu only", fix)


def lacks_sys_resource(process_status: str) -> bool:
    """Whether the bounding set in `process_status` (the text of /proc/self/status) lacks CAP_SYS_RESOURCE."""
    for line in process_status.splitlines():
        if line.startswith("CapBnd:"):
            return not int(line.split()[1], 16) >> CAP_SYS_RESOURCE & 1
    return False


def install_runtime_wrapper() -> None:
    """Make our wrapper of runc the default runtime, in a daemon.json of our own.

    Raises `Refused` when there is a daemon.json that we did not write.
    """
    configuration = {
        "runtimes": {RUNTIME_NAME: {"path": str(RUNTIME_WRAPPER)}},
        "default-runtime": RUNTIME_NAME,
    }
    text = json.dumps(configuration, indent=2) + "\n"
    if DAEMON_CONFIGURATION.exists() and DAEMON_CONFIGURATION.read_text() != text:
        raise Refused(
            f"CAP_SYS_RESOURCE is missing here, and {DAEMON_CONFIGURATION} is not chaosext's",
            f"add to it: {json.dumps(configuration)}, and start dockerd",
        )
    RUNTIME_WRAPPER.parent.mkdir(parents=True, exist_ok=True)
    RUNTIME_WRAPPER.write_text(WRAPPER_SCRIPT)
    RUNTIME_WRAPPER.chmod(0o755)
    DAEMON_CONFIGURATION.parent.mkdir(parents=True, exist_ok=True)
    DAEMON_CONFIGURATION.write_text(text)


def _start(stage: Stage) -> None:
    if Path("/run/systemd/system").is_dir():
        run_command(["systemctl", "start", "docker"], timeout_s=START_TIMEOUT_S)
        _wait_until_answering(None, Path("the output of `journalctl -u docker`"))
        return
    if running_daemon():  # the package's own init script may have started it
        _wait_until_answering(None, Path("/var/log/docker.log"))
        return
    remove_stale_pid_files()
    log = state_home() / "dockerd.log"
    process = _spawn_daemon(log)
    stage.note(f"dockerd runs as process {process.pid}, its log is {log}")
    _wait_until_answering(process, log)


def remove_stale_pid_files(proc: Path = Path("/proc")) -> None:
    """What a killed dockerd or a restarted machine left: dockerd would take any process of that number for its own."""
    for path, command in PID_FILES.items():
        with suppress(FileNotFoundError):
            comm = proc / path.read_text().strip() / "comm"
            if not comm.is_file() or comm.read_text().strip() != command:
                path.unlink()


def _spawn_daemon(log: Path) -> subprocess.Popen[bytes]:
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as sink:
        process = subprocess.Popen(
            ["dockerd"], stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, cwd="/", start_new_session=True
        )
    (log.parent / "dockerd.pid").write_text(f"{process.pid}\n")
    return process


def _wait_until_answering(process: subprocess.Popen[bytes] | None, log: Path) -> None:
    if _answers_in_time(lambda: process is not None and process.poll() is not None):
        return
    if process is not None and process.returncode is not None:
        raise ChaosextError(f"dockerd ended with exit code {process.returncode}", f"see {log}")
    raise ChaosextError(f"Docker Engine did not answer within {START_TIMEOUT_S:g} s", f"see {log}")


def _answers_in_time(ended: Callable[[], bool] = lambda: False) -> bool:
    """Whether an engine answers within START_TIMEOUT_S; False at once when its process has `ended`."""
    deadline_s = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline_s:
        if not engine_problem():
            return True
        if ended():
            return False
        time.sleep(0.3)
    return False


@click.command()
def main() -> None:
    """Have a Docker Engine answer: install and start one on Debian or Ubuntu, as root, where none does."""
    ensure_engine(Progress())


if __name__ == "__main__":
    sys.exit(invoke(None, main, name="python -m hack.docker_engine"))
