"""A bundle's images in the Docker engine: loaded once, under names that follow from their content."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest
from bundles import IMAGES, manifest, write

from chaosext.testbed import node_images, versions
from chaosext.testbed.bundle import Bundle, read_bundle
from chaosext.testbed.commands import run_command
from chaosext.testbed.node_images import ARCHIVE_NAME, ensure_entry_image, load_bundle
from chaosext.testbed.stage_progress import Progress

QUIET = Progress(io.StringIO())


class Engine:
    """A stand-in for the `docker` command: knows which images are there, and what archives brought them."""

    def __init__(self) -> None:
        self.there: set[str] = set()
        self.preloaded: list[str] = []
        self.builders: list[str] = []

    def run(self, argv: list[str | Path], **options: object) -> object:
        words = [str(word) for word in argv]
        if words[:3] == ["docker", "image", "inspect"]:
            return run_command(["true" if words[-1] in self.there else "false"], timeout_s=10)
        if words[:2] == ["docker", "load"]:
            self.there.update(names_in(Path(words[-1])))
        if words[:2] == ["docker", "run"]:
            assert words[words.index("--entrypoint") + 2] in self.there
            directory = words[words.index("--volume") + 1].split(":")[0]
            self.preloaded += names_in(Path(directory, ARCHIVE_NAME))
            self.builders.append(words[words.index("--name") + 1])
        if words[:2] == ["docker", "commit"]:
            self.there.add(words[-1])
        if words[:2] == ["docker", "rm"] and words[-1] in self.builders:
            self.builders.remove(words[-1])
        return None


def names_in(archive: Path) -> list[str]:
    with tarfile.open(archive) as opened:
        listed = opened.extractfile("manifest.json")
        assert listed
        return [name for each in json.loads(listed.read()) for name in each["RepoTags"]]


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Engine:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "cache/chaosext").mkdir(parents=True)
    engine = Engine()
    monkeypatch.setattr(node_images, "run_command", engine.run)
    return engine


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return read_bundle(write(tmp_path / "bundle"))


def test_bundle_is_loaded_with_its_images_in_the_node_image(engine: Engine, bundle: Bundle) -> None:
    found = load_bundle(bundle, QUIET)
    assert {found.node_image, found.leaf_image, versions.KIND_LOADBALANCER_IMAGE} <= engine.there
    in_nodes = [name for role, (_, names) in IMAGES.items() if role in bundle.node_images for name in names]
    assert engine.preloaded == in_nodes
    assert set(found.in_cluster_images) <= set(in_nodes)
    assert engine.builders == []
    assert found.source == "bundle"
    assert (found.istio_pilot_image, found.istio_proxy_image) == (
        "local/istio/pilot:1",
        "local/istio/proxyv2:1",
    )
    assert found.sentinel.layers[0] == bundle.path / "trees/python.tar"
    assert found.runner.layers[0] == bundle.path / "trees/runner.tar"
    assert (found.calico_manifests / "calico.yaml").is_file()
    assert (found.istio_charts / "base/Chart.yaml").is_file()


def test_nothing_is_loaded_when_it_is_there(engine: Engine, bundle: Bundle) -> None:
    first = load_bundle(bundle, QUIET)
    there, preloaded = set(engine.there), list(engine.preloaded)
    assert load_bundle(bundle, QUIET) == first
    assert (engine.there, engine.preloaded) == (there, preloaded)


@pytest.mark.parametrize(
    ("layer", "same_node", "same_leaf"),
    [("layers/node.tar", False, True), ("layers/tools.tar", False, False), ("trees/python.tar", True, True)],
)
@pytest.mark.usefixtures("engine")
def test_names_follow_the_content(
    bundle: Bundle, tmp_path: Path, layer: str, same_node: bool, same_leaf: bool
) -> None:
    said = manifest()
    said["files"][layer]["sha256"] = "0" * 64
    one, other = load_bundle(bundle, QUIET), load_bundle(read_bundle(write(tmp_path / "other", said)), QUIET)
    assert (one.node_image == other.node_image) is same_node
    assert (one.leaf_image == other.leaf_image) is same_leaf


def test_entry_image_is_the_customers_over_envoy(
    engine: Engine, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = load_bundle(bundle, QUIET)
    made: list[tuple[str, str, Path, str]] = []
    envoy = ["sha256:1"]
    monkeypatch.setattr(node_images, "image_field", lambda *_: envoy[-1])
    monkeypatch.setattr(node_images, "commit_with_file", lambda *words: made.append(words[:4]))
    names = [ensure_entry_image(found, QUIET)]
    assert made == [
        (names[0], versions.KIND_LOADBALANCER_IMAGE, bundle.path / "bin/customers", node_images.CUSTOMERS)
    ]
    envoy.append("sha256:2")
    names.append(ensure_entry_image(found, QUIET))
    found.customers.write_text("others")
    names.append(ensure_entry_image(found, QUIET))
    assert len(set(names)) == 3
    engine.there.add(names[-1])
    assert ensure_entry_image(found, QUIET) == names[-1]
    assert len(made) == 3
