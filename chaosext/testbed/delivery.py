"""Builds chaosext's own images from this package's sources, and loads them onto running nodes.

They are not part of the node image, so that a changed source line costs seconds and not a new node image.
"""

from __future__ import annotations

import shlex
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from chaosext.model.paths import cache_home
from chaosext.nodes import image_names as runner
from chaosext.sentinel import sentinel_image as sentinel
from chaosext.testbed.archive import SEARCH_PATH, Component, LayerEntry, write_archive
from chaosext.testbed.containers import docker, node_script

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from chaosext.testbed.archive import Image
    from chaosext.testbed.containers import NodeContainer

CONTAINERD_S = 60
IMPORT_S = 600
NODES_AT_ONCE = 8
IMPORT = ("ctr", "--namespace", "k8s.io", "images", "import", "-")
RUNNER_COMMAND = """#!/bin/sh
exec python3 -c "from chaosext.cli.main import main; main()" "$@"
"""


def sentinel_image_over(python: Path) -> Image:
    """Build the sentinel's image on `python`, a tar file of a file system with `python3` on its search path."""
    config = {"Env": _environment(sentinel.HOME), "Entrypoint": list(sentinel.ENTRYPOINT)}
    entries = _files(sentinel.HOME, sentinel.sources())
    return Component(names=(sentinel.image_name(),), base=python, entries=entries, config=config).image()


def runner_image_over(base: Path) -> Image:
    """Build the image of runner and node Pods on `base`, a tar file with the tools, Python and the libraries."""
    config = {
        "Env": _environment(runner.HOME),
        "User": f"{runner.USER}:{runner.USER}",
        "Entrypoint": ["chaosext"],
    }
    command = LayerEntry(path="usr/local/bin/chaosext", text=RUNNER_COMMAND)
    entries = (*_files(runner.HOME, runner.sources()), command)
    names = (runner.runner_image(), runner.shell_image())
    return Component(names=names, base=base, entries=entries, config=config).image()


def nodes_without(machines: Iterable[NodeContainer], image: str) -> tuple[str, ...]:
    """Return the nodes that lack the image called `image`. Raises `CommandFailed`.

    Waits for a containerd that is still starting.
    """
    nodes = [each.name for each in machines if each.is_kubernetes_node]
    script = _has_script(image)
    with ThreadPoolExecutor(max_workers=NODES_AT_ONCE) as pool:
        answers = pool.map(partial(node_script, script=script, timeout_s=CONTAINERD_S), nodes)
        return tuple(node for node, said in zip(nodes, answers, strict=True) if not said.strip())


def load(nodes: Sequence[str], image: Image) -> None:
    """Load `image` into the containerd of `nodes`, in parallel. Raises `CommandFailed`."""
    with tempfile.TemporaryDirectory(dir=cache_home()) as aside:
        archive = Path(aside) / "image.tar"
        write_archive(archive, [image])
        with ThreadPoolExecutor(max_workers=NODES_AT_ONCE) as pool:
            list(pool.map(partial(_import, archive), nodes))


def deliver(
    machines: Sequence[NodeContainer],
    images: Mapping[str, Image],
    stage: Callable[[str], AbstractContextManager[object]],
) -> None:
    """Load `images` (by component) onto the nodes that lack them, one `stage` each.

    Raises `CommandFailed`.
    """
    for whose, image in images.items():
        if lacking := nodes_without(machines, image.names[0]):
            with stage(f"Load the {whose}'s image onto the nodes"):
                load(lacking, image)


def _files(home: str, sources: Mapping[str, str]) -> tuple[LayerEntry, ...]:
    return tuple(LayerEntry(path=f"{home}/{path}", text=text, mode=0o644) for path, text in sources.items())


def _environment(home: str) -> list[str]:
    return [SEARCH_PATH, f"PYTHONPATH=/{home}", "PYTHONDONTWRITEBYTECODE=1"]


def _import(archive: Path, node: str) -> None:
    docker("exec", "--interactive", node, *IMPORT, input=archive, timeout_s=IMPORT_S)


def _has_script(image: str) -> str:
    name = shlex.quote(f"name=={image}")
    return f"until ctr version >/dev/null 2>&1; do sleep 0.2; done\nctr --namespace k8s.io images ls --quiet {name}"
