"""The sentinel's image comes to the nodes that lack it, and to no others; the node image knows nothing of it."""

from __future__ import annotations

import json
import tarfile
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from bed_images import IMAGES
from checkout import ROOT

from chaosext.sentinel.sentinel_image import ENTRYPOINT, HOME, image_name, sources
from chaosext.testbed import delivery
from chaosext.testbed.archive import write_archive
from chaosext.testbed.commands import CommandFailed
from chaosext.testbed.containers import NodeContainer
from chaosext.testbed.delivery import sentinel_image_over

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def container(name: str, role: str) -> NodeContainer:
    return NodeContainer(
        name=name, role=role, running=True, image="", ipv4="", on_kind_network=True, labels={}
    )


MACHINES = (
    container("bed-control-plane", "control-plane"),
    container("bed-external-load-balancer", "external-load-balancer"),
    container("bed-worker", "worker"),
)


class Nodes:
    """Docker with nodes, of which some have the image; notes what was brought where, and the stages."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, has: set[str], broken: str = "") -> None:
        self.has, self.broken = has, broken
        self.brought: list[str] = []
        self.stages: list[str] = []
        monkeypatch.setattr(delivery, "node_script", self.script)
        monkeypatch.setattr(delivery, "docker", self.docker)

    def script(self, node: str, script: str, *, timeout_s: float) -> str:
        assert f"name=={IMAGES.sentinel.names[0]}" in script
        return f"{IMAGES.sentinel.names[0]}\n" if node in self.has else ""

    def docker(self, *words: str, input: Path, timeout_s: float) -> str:
        node = words[2]
        if node == self.broken:
            raise CommandFailed(f"{node}: no space left on device")
        with tarfile.open(input) as archive:
            (said,) = json.loads(archive.extractfile("manifest.json").read())  # type: ignore[union-attr]
        assert said["RepoTags"] == list(IMAGES.sentinel.names)
        self.brought.append(node)
        return ""

    @contextmanager
    def stage(self, title: str) -> Iterator[None]:
        self.stages.append(title)
        yield


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "chaosext").mkdir()


def test_it_is_brought_to_every_kubernetes_node_that_lacks_it(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = Nodes(monkeypatch, has=set())
    delivery.deliver(MACHINES, {"sentinel": IMAGES.sentinel}, nodes.stage)
    assert sorted(nodes.brought) == ["bed-control-plane", "bed-worker"]

    nodes = Nodes(monkeypatch, has={"bed-worker"})
    delivery.deliver(MACHINES, {"sentinel": IMAGES.sentinel}, nodes.stage)
    assert nodes.brought == ["bed-control-plane"]


def test_nodes_that_have_it_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = Nodes(monkeypatch, has={"bed-control-plane", "bed-worker"})
    delivery.deliver(MACHINES, {"sentinel": IMAGES.sentinel}, nodes.stage)
    assert (nodes.brought, nodes.stages) == ([], [])


def test_a_node_that_can_not_take_it_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = Nodes(monkeypatch, has=set(), broken="bed-worker")
    with pytest.raises(CommandFailed, match="bed-worker: no space left"):
        delivery.deliver(MACHINES, {"sentinel": IMAGES.sentinel}, nodes.stage)


def test_the_image_is_our_sources_over_a_python(tmp_path: Path) -> None:
    python = tmp_path / "python.tar"
    python.write_bytes(b"a tree")
    image = sentinel_image_over(python)
    archive = tmp_path / "image.tar"
    write_archive(archive, [image])

    assert image.names == (image_name(),)
    assert image.layers[0] == python
    with tarfile.open(image.layers[1]) as layer:
        assert sorted(layer.getnames()) == sorted(f"opt/chaosext/{path}" for path in sources())
    with tarfile.open(archive) as whole:
        (said,) = json.loads(whole.extractfile("manifest.json").read())  # type: ignore[union-attr]
        config = json.loads(whole.extractfile(said["Config"]).read())["config"]  # type: ignore[union-attr]
    assert config["Entrypoint"] == ["python3", "-m", "chaosext.sentinel"]
    assert "PYTHONPATH=/opt/chaosext" in config["Env"]
    first = archive.read_bytes()
    write_archive(archive, [sentinel_image_over(python)])
    assert archive.read_bytes() == first


def test_the_dockerfile_for_other_clusters_makes_the_same_of_the_same_sources() -> None:
    lines = (ROOT / "deploy/sentinel/Dockerfile").read_text().splitlines()
    said = [(word, rest) for word, _, rest in (line.partition(" ") for line in lines)]
    copied = [ROOT / rest.split()[0] for word, rest in said if word == "COPY"]
    files = [file for each in copied for file in ([each] if each.is_file() else each.rglob("*.py"))]

    assert sorted(str(file.relative_to(ROOT)) for file in files) == sorted(sources())
    assert json.loads(dict(said)["ENTRYPOINT"]) == list(ENTRYPOINT)
    assert dict(said)["ENV"] == f"PYTHONPATH=/{HOME} PYTHONDONTWRITEBYTECODE=1"
