"""A shell through ssh, with a stand-in for ssh that runs the remote command here."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from chaosext.model.errors import Refused, Unreachable
from chaosext.nodes.ssh_shell import SshShell

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Runs its last argument, as a login shell would, and keeps its arguments."""
    program = tmp_path / "ssh"
    program.write_text(f'#!/bin/bash\nprintf "%s\\n" "$@" > {tmp_path}/said\nexec bash -c "${{@: -1}}"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return tmp_path / "said"


def test_script_reaches_the_node_unchanged_with_its_stdin(ssh: Path) -> None:
    script = "read -r word; printf '%s|%s' \"it's $word\" '$HOME \"x\"'; exit 3"
    done = SshShell("w1", "root@10.0.0.5").run(script, stdin="here\n", timeout_s=5)
    assert (done.exit_code, done.stdout) == (3, 'it\'s here|$HOME "x"')
    assert ssh.read_text().splitlines()[:6] == ["-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=5", "--"]


def test_node_that_ssh_does_not_reach_is_unreachable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "ssh"
    program.write_text(
        "#!/bin/sh\necho 'ssh: connect to host w1 port 22: Connection timed out' >&2\nexit 255\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(Unreachable, match="w1: ssh: connect to host"):
        SshShell("w1", "w1").run("true", timeout_s=5)


@pytest.mark.parametrize("destination", ["-oProxyCommand=x", "a b", "a;b", "", "root@"])
def test_destination_that_is_none_is_refused(destination: str) -> None:
    with pytest.raises(Refused, match="destination for ssh"):
        SshShell("w1", destination)
