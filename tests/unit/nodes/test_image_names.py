"""One image for runner and node Pods: its names follow from what is in it; both its recipes make the same of it."""

from __future__ import annotations

import json
import re
import tarfile
from pathlib import Path

import pytest
from checkout import ROOT

import chaosext
from chaosext.nodes import image_names
from chaosext.nodes.image_names import HOME, TOOLS, USER, runner_image, shell_image, sources
from chaosext.testbed import registry
from chaosext.testbed.delivery import RUNNER_COMMAND, runner_image_over
from hack.images.debian import RUNNER_PACKAGES

DOCKERFILE = (ROOT / "deploy/runner/Dockerfile").read_text()


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "chaosext").mkdir()


def test_other_sources_make_another_runner_and_the_same_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    before = runner_image(), shell_image()
    monkeypatch.setattr(image_names, "sources", lambda: {"chaosext/__init__.py": "changed"})
    assert runner_image() != before[0]
    assert shell_image() == before[1]


def test_other_tools_make_another_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    before = shell_image()
    monkeypatch.setattr(image_names, "TOOLS", (*TOOLS, "tcpdump"))
    assert shell_image() != before


def test_all_of_the_package_is_in_it_and_the_experiments(tmp_path: Path) -> None:
    tree = tmp_path / "tree.tar"
    tree.write_bytes(b"a tree")
    made = runner_image_over(tree)

    assert made.names == (runner_image(), shell_image())
    assert made.layers[0] == tree
    with tarfile.open(made.layers[1]) as layer:
        names = set(layer.getnames())
        assert layer.getmember("usr/local/bin/chaosext").mode == 0o755
    package = Path(chaosext.__file__).parent
    modules = {f"{HOME}/{path.relative_to(package.parent)}" for path in package.rglob("*.py")}
    assert names >= modules | {f"{HOME}/chaosext/experiments/control-plane-partition.yaml"}
    assert not [name for name in names if "__pycache__" in name]
    assert made.config["User"] == f"{USER}:{USER}"


def test_the_dockerfile_for_other_clusters_makes_the_same() -> None:
    (installed,) = re.findall(r"--no-install-recommends (.*?) \\", DOCKERFILE)
    assert tuple(installed.split()) == TOOLS
    assert set(RUNNER_PACKAGES) == {
        *TOOLS,
        "ca-certificates",
        "python3",
    }  # the last two are Python's own image's

    assert f"USER {USER}:{USER}" in DOCKERFILE
    assert f"PYTHONPATH=/{HOME} " in DOCKERFILE
    assert json.loads(DOCKERFILE.rsplit("ENTRYPOINT", 1)[1]) == ["chaosext"]
    assert "--require-hashes" in DOCKERFILE
    (printed,) = re.findall(r"printf '(.*)' > /usr/local/bin/chaosext", DOCKERFILE)
    assert printed.replace("\\n", "\n") == RUNNER_COMMAND


@pytest.mark.parametrize(
    "path", sorted((ROOT / "deploy").glob("*/Dockerfile")), ids=lambda path: path.parent.name
)
def test_every_base_image_is_named_by_a_digest_that_has_no_default(path: Path) -> None:
    """What a tag names today may be another image tomorrow, and no digest that is committed here could be reviewed."""
    text = path.read_text()
    stages = set(re.findall(r"^FROM \S+ AS (\S+)$", text, re.MULTILINE))
    bases = [base for base in re.findall(r"^FROM (\S+)", text, re.MULTILINE) if base not in stages]
    assert bases == ["${PYTHON}@sha256:${PYTHON_SHA256}"]
    assert "ARG PYTHON_SHA256" in text.splitlines()
    assert not re.search(r"^(COPY|ADD) .*(--from=|https?:)", text, re.MULTILINE)


def test_the_testbed_builds_on_the_very_image_that_was_pulled(monkeypatch: pytest.MonkeyPatch) -> None:
    digest = "a" * 64
    monkeypatch.setattr(
        registry, "image_field", lambda *_: f"mirror.example:5000/library/python@sha256:{digest}"
    )
    assert registry._base_arguments(registry.PYTHON) == [
        "--build-arg", "PYTHON=mirror.example:5000/library/python", "--build-arg", f"PYTHON_SHA256={digest}",
    ]  # fmt: skip


def test_the_sources_of_a_source_tree_and_of_a_wheel_are_the_same_experiments() -> None:
    assert [name for name in sources() if name.startswith("chaosext/experiments/")] == [
        f"chaosext/experiments/{path.name}" for path in sorted((ROOT / "experiments").glob("*.yaml"))
    ]
