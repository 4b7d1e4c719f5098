"""When an engine is left alone, when one is installed, when we refuse; and what the runtime wrapper does."""

from __future__ import annotations

import io
import json
import os
import stat
import subprocess
from typing import TYPE_CHECKING

import pytest

from chaosext.model.errors import Refused
from chaosext.testbed.stage_progress import Progress
from hack import apt
from hack import docker_engine as engine

if TYPE_CHECKING:
    from pathlib import Path

WITH_ALL = "Name:\tx\nCapBnd:\t000001ffffffffff\n"
WITHOUT_SYS_RESOURCE = "Name:\tx\nCapBnd:\t000001fffeffffff\n"


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that is all of PATH; the machine is root's, with nothing installed and nobody's DOCKER_HOST."""
    directory = tmp_path / "bin"
    directory.mkdir()
    monkeypatch.setenv("PATH", str(directory))
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(engine, "running_daemon", lambda: None)
    return directory


def install(directory: Path, name: str, script: str) -> None:
    (directory / name).write_text(f"#!/bin/sh\n{script}\n")
    (directory / name).chmod(0o755)


def test_engine_is_left_alone_when_it_answers(commands: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(commands, "docker", "echo 20.10.24")
    monkeypatch.setattr(engine, "refuse_unless_installable", pytest.fail)
    engine.ensure_engine(Progress())


@pytest.mark.usefixtures("commands")
def test_engine_is_refused_when_not_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(Refused, match="Docker Engine is missing, and only root"):
        engine.ensure_engine(Progress())


def test_engine_is_refused_when_the_user_may_not_use_it(commands: Path) -> None:
    install(commands, "docker", "echo 'permission denied while trying to connect' >&2; exit 1")
    with pytest.raises(Refused, match="no access to") as caught:
        engine.ensure_engine(Progress())
    assert "group" in caught.value.fix


@pytest.mark.usefixtures("commands")
def test_engine_is_refused_when_there_is_no_apt() -> None:
    with pytest.raises(Refused, match="Debian and Ubuntu only"):
        engine.ensure_engine(Progress())


@pytest.mark.usefixtures("commands")
def test_engine_is_refused_when_docker_host_names_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://10.0.0.1:2375")
    with pytest.raises(Refused, match=r"10\.0\.0\.1"):
        engine.ensure_engine(Progress())


@pytest.mark.parametrize("is_root", [True, False])
def test_daemon_is_waited_for_when_slow_and_nothing_else_is_touched(
    commands: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_root: bool
) -> None:
    install(commands, "docker", f"[ -e {tmp_path}/asked ] && echo 20.10.24; : > {tmp_path}/asked")
    monkeypatch.setattr(os, "geteuid", lambda: 0 if is_root else 1000)
    monkeypatch.setattr(engine, "running_daemon", lambda: 4711)
    monkeypatch.setattr(engine, "install_runtime_wrapper", lambda: pytest.fail("touched"))
    monkeypatch.setattr(engine, "_spawn_daemon", lambda _: pytest.fail("a second daemon"))
    said = io.StringIO()
    engine.ensure_engine(Progress(said))
    assert "process 4711" in said.getvalue()


def test_daemon_is_refused_by_its_process_when_it_stays_silent(
    commands: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(commands, "docker", "exit 1")
    monkeypatch.setattr(engine, "running_daemon", lambda: 4711)
    monkeypatch.setattr(engine, "START_TIMEOUT_S", 0.1)
    with pytest.raises(Refused, match="process 4711"):
        engine.ensure_engine(Progress(io.StringIO()))


def process(proc: Path, pid: int, command: str, ns_pids: str) -> None:
    (proc / str(pid)).mkdir(parents=True)
    (proc / str(pid) / "comm").write_text(f"{command}\n")
    (proc / str(pid) / "status").write_text(f"Name:\t{command}\nPid:\t{pid}\nNSpid:\t{ns_pids}\n")


def test_daemon_is_found_among_the_processes_but_not_in_a_container(tmp_path: Path) -> None:
    process(tmp_path, 1, "init", "1")
    process(tmp_path, 20, "dockerd", "20\t7")
    assert engine.running_daemon(tmp_path) is None
    process(tmp_path, 30, "dockerd", "30")
    assert engine.running_daemon(tmp_path) == 30


def test_pid_files_are_removed_when_of_other_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process(tmp_path, 30, "dockerd", "30")
    process(tmp_path, 31, "sshd", "31")
    ours, foreign, dead, absent = (tmp_path / name for name in ("ours", "foreign", "dead", "absent"))
    for path, pid in ((ours, 30), (foreign, 31), (dead, 32)):
        path.write_text(f"{pid}\n")
    monkeypatch.setattr(engine, "PID_FILES", dict.fromkeys((ours, foreign, dead, absent), "dockerd"))
    engine.remove_stale_pid_files(tmp_path)
    assert [path.exists() for path in (ours, foreign, dead)] == [True, False, False]


@pytest.mark.parametrize(
    ("os_release", "debian"),
    [
        ("ID=debian\n", True),
        ('ID=ubuntu\nID_LIKE="debian"\n', True),
        ('ID=linuxmint\nID_LIKE="ubuntu debian"\n', True),
        ('ID="fedora"\nNAME="not debian"\n', False),
    ],
)
def test_debian_and_its_descendants_are_recognised(
    commands: Path, tmp_path: Path, os_release: str, debian: bool
) -> None:
    install(commands, "apt-get", "")
    (tmp_path / "os-release").write_text(os_release)
    assert apt.is_debian(tmp_path / "os-release") is debian


def test_debian_is_not_assumed_when_there_is_no_os_release(commands: Path, tmp_path: Path) -> None:
    install(commands, "apt-get", "")
    assert not apt.is_debian(tmp_path / "missing")


@pytest.mark.parametrize(
    ("status", "lacks"), [(WITH_ALL, False), (WITHOUT_SYS_RESOURCE, True), ("Name:\tx\n", False)]
)
def test_bounding_set_is_read(status: str, lacks: bool) -> None:
    assert engine.lacks_sys_resource(status) is lacks


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the wrapper and its daemon.json go."""
    monkeypatch.setattr(engine, "RUNTIME_WRAPPER", tmp_path / "lib" / "wrapper")
    monkeypatch.setattr(engine, "DAEMON_CONFIGURATION", tmp_path / "etc" / "daemon.json")
    return tmp_path


def test_wrapper_becomes_the_default_runtime_and_may_be_installed_twice(places: Path) -> None:
    engine.install_runtime_wrapper()
    engine.install_runtime_wrapper()
    written = json.loads((places / "etc" / "daemon.json").read_text())
    runtime = written["default-runtime"]
    assert written["runtimes"][runtime]["path"] == str(places / "lib" / "wrapper")
    assert (places / "lib" / "wrapper").stat().st_mode & stat.S_IXOTH


def test_daemon_configuration_is_not_touched_when_foreign(places: Path) -> None:
    foreign = places / "etc" / "daemon.json"
    foreign.parent.mkdir()
    foreign.write_text('{"data-root": "/srv/docker"}')
    with pytest.raises(Refused, match=r"daemon\.json") as caught:
        engine.install_runtime_wrapper()
    assert foreign.read_text() == '{"data-root": "/srv/docker"}'
    assert "default-runtime" in caught.value.fix
    assert not (places / "lib" / "wrapper").exists()


class TestWrapper:
    """The script itself, in front of a runc that only says how it was called."""

    @pytest.fixture
    def wrapper(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        commands = tmp_path / "bin"
        commands.mkdir()
        install(commands, "runc", 'printf "%s\\n" "$@"')
        install(commands, "wrapper", engine.WRAPPER_SCRIPT.removeprefix("#!/bin/sh\n"))
        monkeypatch.setenv("PATH", f"{commands}:/usr/bin:/bin")
        return commands / "wrapper"

    def specification(self) -> dict[str, object]:
        capabilities = ["CAP_SYS_PTRACE", "CAP_SYS_RESOURCE", "CAP_SYSLOG"]
        sets = {"bounding": capabilities, "effective": capabilities[1:], "permitted": capabilities[:2]}
        environment = ['WORDS="CAP_SYS_RESOURCE",', "PATH=/bin"]
        return {"process": {"capabilities": sets, "oomScoreAdj": -500, "env": environment}}

    def run(self, wrapper: Path, *words: str) -> list[str]:
        done = subprocess.run([str(wrapper), *words], capture_output=True, text=True, check=True, timeout=20)
        return done.stdout.splitlines()

    @pytest.mark.parametrize("command", ["create", "exec"])
    def test_wrapper_removes_the_capability(self, wrapper: Path, tmp_path: Path, command: str) -> None:
        file = tmp_path / "config.json"
        file.write_text(json.dumps(self.specification(), separators=(",", ":")))
        option = ("--bundle", str(tmp_path)) if command == "create" else ("--process", str(file))
        said = self.run(wrapper, "--root", "/run/x", command, *option, "an id")
        assert said == ["--root", "/run/x", command, *option, "an id"]
        process = json.loads(file.read_text())["process"]
        assert process["capabilities"] == {
            "bounding": ["CAP_SYS_PTRACE", "CAP_SYSLOG"],
            "effective": ["CAP_SYSLOG"],
            "permitted": ["CAP_SYS_PTRACE"],
        }
        assert process["oomScoreAdj"] == 0
        assert process["env"] == ['WORDS="CAP_SYS_RESOURCE",', "PATH=/bin"]

    def test_wrapper_passes_other_commands_through(self, wrapper: Path) -> None:
        assert self.run(wrapper, "state", "an id") == ["state", "an id"]
