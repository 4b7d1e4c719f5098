"""The wheel: what users get, which is not the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from checkout import ROOT

ASK = """
from importlib.metadata import entry_points
from chaosext.experiment.load import bundled
from chaosext.testbed.config import shipped_kind_config
print(bundled("control-plane-partition"), shipped_kind_config(), sep="\\n")
print([each.value for each in entry_points(group="pytest11", name="chaosext")][0])
"""


def python(installed: Path, *words: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    argv = [sys.executable, *words]
    done = subprocess.run(
        argv, env=environment, cwd=installed.parent, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_experiments_and_testbed_configuration_come_with_it(installed: Path) -> None:
    experiment, configuration, plugin = python(installed, "-c", ASK).splitlines()
    assert Path(experiment).read_text() == (ROOT / "experiments/control-plane-partition.yaml").read_text()
    assert Path(experiment).is_relative_to(installed)
    assert Path(configuration).is_relative_to(installed)
    assert plugin == "chaosext.testing.plugin"


def test_every_file_of_the_package_comes_with_it(installed: Path) -> None:
    """Templates and styles are read at run time, and missed by no test that runs from a checkout."""
    tracked = subprocess.run(
        ["git", "ls-files", "chaosext"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    there = [name for name in tracked.stdout.splitlines() if (ROOT / name).exists()]
    assert len(there) > 200
    assert [name for name in there if not (installed / name).is_file()] == []


def test_nothing_that_builds_comes_with_it(installed: Path) -> None:
    """hack/ builds image bundles and installs Docker Engine; the wheel only reads what came of it."""
    files = {path.relative_to(installed): path for path in installed.rglob("*") if path.is_file()}
    assert {name.parts[0] for name in files} == {"bin", "chaosext", next(installed.glob("*.dist-info")).name}
    assert [name for name in files if name.suffix in (".go", ".mod", ".sum", ".sh")] == []
    sources = {name: path.read_text() for name, path in files.items() if name.suffix == ".py"}
    for word in ("mmdebstrap", "mod download", '"build", *', '"install", "-y"', "import hack", "from hack"):
        assert [str(name) for name, text in sources.items() if word in text] == [], word


def test_testbed_up_without_images_says_how_to_get_them(installed: Path, tmp_path: Path) -> None:
    docker = tmp_path / "bin" / "docker"
    docker.parent.mkdir()
    docker.write_text('#!/bin/sh\n[ "$1" = ps ] || echo http://127.0.0.1:9/\n')
    docker.chmod(0o755)
    environment = {
        **os.environ, "PYTHONPATH": str(installed), "PATH": str(docker.parent), "XDG_CACHE_HOME": str(tmp_path),
        "XDG_CONFIG_HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path), "KUBECONFIG": str(tmp_path / "none"),
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-P", "-m", "chaosext", "testbed", "up"],
        env=environment, cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 20, done.stderr
    assert "no image registry answers" in done.stderr
    assert "fix: run `make images`" in done.stderr


def test_its_command_runs(installed: Path) -> None:
    assert python(installed, "-P", "-m", "chaosext", "--help").startswith("Usage: chaosext")
