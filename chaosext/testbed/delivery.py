"""Our own images on the nodes: looked for, and brought into their containerd while they run."""

from __future__ import annotations

import shlex
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from chaosext.model.places import cache_home
from chaosext.testbed.archive import write_archive
from chaosext.testbed.containers import docker, node_script

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from chaosext.testbed.archive import Image
    from chaosext.testbed.containers import Container

CONTAINERD_S = 60
IMPORT_S = 600
NODES_AT_ONCE = 8
IMPORT = ("ctr", "--namespace", "k8s.io", "images", "import", "-")


def nodes_without(machines: Iterable[Container], image: str) -> tuple[str, ...]:
    """The nodes that don't have the image called `image`. Raises `CommandFailed`.

    A node whose containerd is only just starting is waited for.
    """
    nodes = [each.name for each in machines if each.is_kubernetes_node]
    script = _has_script(image)
    with ThreadPoolExecutor(max_workers=NODES_AT_ONCE) as pool:
        answers = pool.map(partial(node_script, script=script, timeout_s=CONTAINERD_S), nodes)
        return tuple(node for node, said in zip(nodes, answers, strict=True) if not said.strip())


def load(nodes: Sequence[str], image: Image) -> None:
    """Bring `image` into the containerd of `nodes`, all of them at once. Raises `CommandFailed`."""
    with tempfile.TemporaryDirectory(dir=cache_home()) as aside:
        archive = Path(aside) / "image.tar"
        write_archive(archive, [image])
        with ThreadPoolExecutor(max_workers=NODES_AT_ONCE) as pool:
            list(pool.map(partial(_import, archive), nodes))


def deliver(
    machines: Sequence[Container],
    images: Mapping[str, Image],
    stage: Callable[[str], AbstractContextManager[object]],
) -> None:
    """Bring `images`, by what they are of, to the nodes that lack them: a `stage` each. Raises `CommandFailed`."""
    for whose, image in images.items():
        if lacking := nodes_without(machines, image.names[0]):
            with stage(f"Bring the {whose}'s image to the nodes"):
                load(lacking, image)


def _import(archive: Path, node: str) -> None:
    docker("exec", "--interactive", node, *IMPORT, input=archive, timeout_s=IMPORT_S)


def _has_script(image: str) -> str:
    name = shlex.quote(f"name=={image}")
    return f"until ctr version >/dev/null 2>&1; do sleep 0.2; done\nctr --namespace k8s.io images ls --quiet {name}"
