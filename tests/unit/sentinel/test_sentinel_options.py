"""What the environment must say, and what the process answers when it doesn't."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from chaosext.model.errors import Refused
from chaosext.sentinel.sentinel_options import SentinelOptions
from chaosext.sentinel.watch_plan import Named, WatchPlan

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {
        "CHAOSEXT_NODE": "w1",
        "CHAOSEXT_HOST_IP": "127.0.0.1",
        "CHAOSEXT_PORT": "9911",
        "CHAOSEXT_TOKEN": "a-token-of-the-tests",
        "CHAOSEXT_PLAN": json.dumps(WatchPlan(run="run-1").to_json()),
        "CHAOSEXT_RECORD_DIR": str(tmp_path),
    }


def test_all_of_it_is_read_and_the_token_is_not_shown(environment: dict[str, str], tmp_path: Path) -> None:
    settings = SentinelOptions.read(environment)
    assert (settings.node, settings.host, settings.port) == ("w1", "127.0.0.1", 9911)
    assert (settings.plan, settings.directory) == (WatchPlan(run="run-1"), tmp_path)
    assert settings.token == environment["CHAOSEXT_TOKEN"]
    assert settings.token not in repr(settings)


NAMES = [
    "CHAOSEXT_NODE",
    "CHAOSEXT_HOST_IP",
    "CHAOSEXT_PORT",
    "CHAOSEXT_TOKEN",
    "CHAOSEXT_PLAN",
    "CHAOSEXT_RECORD_DIR",
]


@pytest.mark.parametrize("name", NAMES)
def test_one_that_is_missing_is_named(environment: dict[str, str], name: str) -> None:
    del environment[name]
    with pytest.raises(Refused, match=f"^{name} is not set$"):
        SentinelOptions.read(environment)


@pytest.mark.parametrize("name", NAMES)
def test_one_that_is_empty_is_named(environment: dict[str, str], name: str) -> None:
    with pytest.raises(Refused, match=f"^{name}: "):
        SentinelOptions.read(environment | {name: ""})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CHAOSEXT_HOST_IP", "0.0.0.0"),
        ("CHAOSEXT_HOST_IP", "::"),
        ("CHAOSEXT_HOST_IP", "localhost"),
        ("CHAOSEXT_PORT", "70000"),
        ("CHAOSEXT_TOKEN", "short"),
        ("CHAOSEXT_TOKEN", "with a\nline break in it"),
        ("CHAOSEXT_RECORD_DIR", "/nowhere/at/all"),
        ("CHAOSEXT_PLAN", "{}"),
        ("CHAOSEXT_PLAN", json.dumps(WatchPlan(run="r", tcp=(Named(target="istiod:15012"),)).to_json())),
        ("CHAOSEXT_PLAN", json.dumps(WatchPlan(run="r", timeout_s=2.0).to_json())),
    ],
)
def test_one_that_can_not_be_is_named(environment: dict[str, str], name: str, value: str) -> None:
    with pytest.raises(Refused, match=f"^{name}: ") as refused:
        SentinelOptions.read(environment | {name: value})
    assert environment["CHAOSEXT_TOKEN"] not in str(refused.value)


def run(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "chaosext.sentinel"]
    return subprocess.run(
        argv, env=os.environ | environment, capture_output=True, text=True, timeout=20, check=False
    )


def test_the_process_says_it_in_one_line_and_exits_20(environment: dict[str, str]) -> None:
    done = run(environment | {"CHAOSEXT_PORT": "x"})
    assert (done.returncode, done.stdout) == (20, "")
    assert done.stderr == "chaosext.sentinel: CHAOSEXT_PORT: 'x' is not a port from 1 to 65535\n"


def test_a_port_that_is_taken_is_named(environment: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = run(environment | {"CHAOSEXT_PORT": port})
    assert done.returncode == 20
    assert done.stderr == (
        f"chaosext.sentinel: CHAOSEXT_HOST_IP 127.0.0.1, CHAOSEXT_PORT {port}: Address already in use\n"
    )
