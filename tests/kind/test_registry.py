"""The pull path for real: a registry on loopback serves what was built here under the official paths.

Needs Debian's `docker-registry` and the parts of an image bundle; takes two minutes and 3 GiB of disk, and gives them
back.
"""

from __future__ import annotations

import dataclasses
import shutil
import socket
import subprocess
import sys
import tarfile
import time
from typing import TYPE_CHECKING

import pytest

from chaosext.sentinel.sentinel_image import image_name
from chaosext.testbed import registry as registry_images
from chaosext.testbed import versions
from chaosext.testbed.archive import Image
from chaosext.testbed.bringup import ensure_images
from chaosext.testbed.commands import CommandFailed, run_command
from chaosext.testbed.node_images import is_loaded, load_image, preload_node
from chaosext.testbed.registry import (
    BUSYBOX,
    CALICO_CNI,
    CALICO_NODE,
    ISTIO_PILOT,
    ISTIO_PROXY,
    LEAF,
    LOADBALANCER,
    NODE,
    OFFICIAL_IMAGES,
    PYTHON,
    OfficialImage,
    registry_answers,
)
from chaosext.testbed.stage_progress import Progress
from hack.images import builder
from hack.images.components import calico_components, istio_components, kubernetes_components

from .conftest import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from chaosext.testbed.archive import Component


BUILT_HERE = (LOADBALANCER,)  # under its official name from a bundle, too: kind fixes it


def docker(*words: str) -> str:
    return run_command(["docker", *words], timeout_s=600).stdout


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[str]:
    """A registry of our own, as HOST:PORT."""
    command = shutil.which("docker-registry")
    if command is None:
        pytest.skip("needs docker-registry (apt-get install docker-registry)")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    configuration = tmp_path / "registry.yml"
    storage = tmp_path / "registry"
    configuration.write_text(
        f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {storage}}}}}\nhttp: {{addr: {address}}}\n"
    )
    with (tmp_path / "registry.log").open("w") as log:
        process = subprocess.Popen([command, "serve", configuration], stdout=log, stderr=log)
    try:
        deadline_s = time.monotonic() + 20
        while not registry_answers(address, timeout_s=1):
            assert time.monotonic() < deadline_s, (tmp_path / "registry.log").read_text()
            time.sleep(0.1)
        yield address
    finally:
        process.terminate()
        process.wait(20)
        shutil.rmtree(storage, ignore_errors=True)


@pytest.fixture
def own_images() -> Iterator[list[str]]:
    """Names of images that the test makes, taken away at its end; skips where official ones are in use."""
    in_use = [image.name for image in OFFICIAL_IMAGES if image not in BUILT_HERE and is_loaded(image.name)]
    if in_use:
        pytest.skip(f"official images are here already: {', '.join(in_use)}")
    names: list[str] = []
    yield names
    for name in reversed(names):
        if is_loaded(name):
            docker("rmi", name)


def push(registry: str, own_images: list[str]) -> builder.Parts:
    """Push what is built here under the official paths, and forget it here. Returns what it was made of."""
    progress = Progress(sys.stderr)
    parts = builder.build_parts(progress)
    calico = calico_components(calico=parts.calico, tools=parts.tools_tree, tag="x")
    istio = istio_components(istio=parts.istio, envoy=parts.envoy, tools=parts.tools_tree, tag="x")
    shell = dataclasses.replace(calico[1], base=parts.tools_tree)  # for BusyBox: any tree with a shell
    made: list[tuple[Component, OfficialImage]] = [
        *zip((*calico, *istio), (CALICO_NODE, CALICO_CNI, ISTIO_PILOT, ISTIO_PROXY), strict=True),
        (shell, BUSYBOX),
        (builder.load_balancer(parts), LOADBALANCER),
    ]
    for component, official in made:
        load_image(component.image(), official.source(registry))
    load_image(Image(names=(), layers=(parts.python_tree,)), PYTHON.source(registry))
    load_image(builder.leaf(parts), LEAF.source(registry))
    base = builder.node_base(parts)
    own_images.append(base.names[0])
    load_image(base.image(), base.names[0])
    kubernetes = kubernetes_components(
        kubernetes=parts.kubernetes,
        etcd=parts.etcd,
        coredns=parts.coredns,
        pause=parts.pause,
        tools=parts.tools_tree,
    )
    preload_node(NODE.source(registry), base.names[0], [component.image() for component in kubernetes])
    own_images += [image.source(registry) for image in OFFICIAL_IMAGES]
    for image in OFFICIAL_IMAGES:
        docker("push", "--quiet", image.source(registry))
        docker("rmi", image.source(registry))
    return parts


def test_auto_pulls_from_a_registry_that_answers(
    registry: str, own_images: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = push(registry, own_images)
    # The stand-in for Python's image has no apt and no pip, which deploy/runner/Dockerfile calls.
    monkeypatch.setattr(registry_images, "_runner_tree", lambda _progress: parts.runner_tree)
    builder.build_bundle("tools", Progress(sys.stderr))
    own_images += [image.name for image in OFFICIAL_IMAGES if image not in BUILT_HERE]
    images = ensure_images("auto", Progress(sys.stderr), registry=registry)
    own_images += [images.shop_image, images.node_image]

    assert images.source == "registry"
    container = docker("create", images.node_image).strip()
    try:
        listed = docker("cp", f"{container}:/var/lib/containerd/io.containerd.metadata.v1.bolt/meta.db", "-")
    finally:
        docker("rm", container)
    for name in (*images.in_cluster_images, f"registry.k8s.io/kube-proxy:{versions.KUBERNETES_VERSION}"):
        assert name in listed, name
    assert images.sentinel.names == (image_name(),)
    with tarfile.open(images.sentinel.layers[0]) as tree:
        assert "usr/bin/python3" in tree.getnames()
    shutil.rmtree(images.sentinel.layers[0].parent)


def test_pull_fails_by_name_when_the_registry_lacks_an_image(registry: str, own_images: list[str]) -> None:
    with pytest.raises(CommandFailed, match=f"{registry}/kindest/node"):
        ensure_images("registry", Progress(sys.stderr), registry=registry)
    assert own_images == []


@pytest.fixture
def base(registry: str, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """An image in the registry that holds one file: its repository, and its digest without `sha256:`."""
    (tmp_path / "file").write_text("a base image")
    with tarfile.open(tmp_path / "base.tar", "w") as tree:
        tree.add(tmp_path / "file", "file")
    name = f"{registry}/base:1"
    docker("import", str(tmp_path / "base.tar"), name)
    docker("push", "--quiet", name)
    (pushed,) = docker("inspect", "--format", "{{range .RepoDigests}}{{.}} {{end}}", name).split()
    docker("rmi", name)
    repository, _, digest = pushed.partition("@sha256:")
    yield repository, digest
    docker("rmi", "--force", pushed)


def build(*arguments: str) -> str:
    words = [word for each in arguments for word in ("--build-arg", each)]
    return docker(
        "build", "--quiet", "--file", str(ROOT / "deploy/sentinel/Dockerfile"), *words, str(ROOT)
    ).strip()


def test_our_dockerfiles_build_on_the_digest_that_was_named(base: tuple[str, str]) -> None:
    repository, digest = base
    image = build(f"PYTHON={repository}", f"PYTHON_SHA256={digest}")
    try:
        assert docker("inspect", "--format", "{{.Config.Entrypoint}}", image).startswith(
            "[python3 -m chaosext"
        )
    finally:
        docker("rmi", image)


def test_our_dockerfiles_build_on_no_tag_and_on_no_other_digest(base: tuple[str, str]) -> None:
    repository, digest = base
    for arguments in (
        [f"PYTHON={repository}:1"],
        [f"PYTHON={repository}:1", "PYTHON_SHA256="],
        [f"PYTHON={repository}@sha256:{digest}"],
        [f"PYTHON={repository}", f"PYTHON_SHA256={'0' * 64}"],
        [],
    ):
        with pytest.raises(CommandFailed):
            build(*arguments)
