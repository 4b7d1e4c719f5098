"""Images in the host's Docker engine: loading our archives, and nodes with images inside."""

from __future__ import annotations

import json
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from chaosext.model.places import cache_home
from chaosext.testbed.archive import write_archive
from chaosext.testbed.commands import CommandFailed, run_command

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from chaosext.testbed.archive import Image

LOAD_TIMEOUT_S = 600.0
ARCHIVE_NAME = "images.tar"
NODE_ENTRYPOINT = ["/usr/local/bin/entrypoint", "/sbin/init"]

# As kind's own node image build does it (pkg/build/nodeimage): containerd runs once and takes the archive; layers are
# unpacked on each node, so that /var, which is copied into a volume per node, stays small.
IMPORT_SCRIPT = f"""
set -eu
sed -i 's/restrict_oom_score_adj = false/restrict_oom_score_adj = true/' /etc/containerd/config.toml
containerd >/tmp/containerd.log 2>&1 &
for _ in $(seq 100); do ctr version >/dev/null 2>&1 && break; sleep 0.1; done
ctr --namespace=k8s.io images import --all-platforms --no-unpack /mnt/{ARCHIVE_NAME} >/tmp/import.log 2>&1 || {{
  cat /tmp/containerd.log /tmp/import.log >&2
  exit 1
}}
kill %1
wait || true
rm -rf /run/containerd /tmp/containerd.log /tmp/import.log
"""


def is_loaded(name: str) -> bool:
    """Whether the engine has an image called `name`."""
    try:
        run_command(["docker", "image", "inspect", "--format", "{{.Id}}", name], timeout_s=30)
    except CommandFailed as error:
        if error.exit_code_of_command is None:
            raise
        return False
    return True


def image_field(name: str, template: str) -> str:
    """One field of the engine's image called `name`, as a Go template says (`{{.Id}}`)."""
    argv = ["docker", "image", "inspect", "--format", template, name]
    return run_command(argv, timeout_s=30).stdout.strip()


def commit_with_file(name: str, base: str, source: Path, path: str, changes: Sequence[str]) -> None:
    """Make the image `name`: `base` with the file `source` at `path`, and `changes` in Dockerfile words."""
    with _created(base) as container, tempfile.TemporaryDirectory() as aside:
        # With its directories, which `docker cp` wants to exist.
        tree = Path(aside) / path.lstrip("/")
        tree.parent.mkdir(parents=True)
        shutil.copy(source, tree)
        run_command(["docker", "cp", f"{aside}/.", f"{container}:/"], timeout_s=60)
        options = [word for change in changes for word in ("--change", change)]
        run_command(["docker", "commit", *options, container, name], timeout_s=60)


def export_tree(image: str, target: Path) -> None:
    """Write all files of `image` into the tar file `target`."""
    with _created(image) as container:
        run_command(["docker", "export", "--output", target, container], timeout_s=LOAD_TIMEOUT_S)


def load_images(images: Iterable[Image]) -> None:
    """Load `images` into the engine, under their names."""
    with tempfile.TemporaryDirectory(dir=cache_home()) as aside:
        archive = Path(aside) / ARCHIVE_NAME
        write_archive(archive, images)
        run_command(["docker", "load", "--quiet", "--input", archive], timeout_s=LOAD_TIMEOUT_S)


def preload_node(name: str, base: str, images: Sequence[Image]) -> None:
    """Make the node image `name`: the node image `base` with `images` in its containerd."""
    with tempfile.TemporaryDirectory(dir=cache_home()) as aside:
        write_archive(Path(aside) / ARCHIVE_NAME, images)
        preload_node_from(name, base, Path(aside))


def preload_node_from(name: str, base: str, directory: Path) -> None:
    """As `preload_node`, from the archive `images.tar` in `directory`."""
    builder = f"chaosext-build-{name.rsplit(':', 1)[-1]}"
    run_command(["docker", "rm", "--force", builder], timeout_s=60)
    try:
        argv = [
            "docker", "run", "--name", builder, "--security-opt", "seccomp=unconfined", "--network", "none",
            "--volume", f"{directory}:/mnt:ro", "--entrypoint", "bash", base, "-c", IMPORT_SCRIPT,
        ]  # fmt: skip
        run_command(argv, timeout_s=LOAD_TIMEOUT_S)
        entrypoint = f"ENTRYPOINT {json.dumps(NODE_ENTRYPOINT)}"
        commit = ["docker", "commit", "--change", entrypoint, "--change", "CMD []", builder, name]
        run_command(commit, timeout_s=LOAD_TIMEOUT_S)
    finally:
        run_command(["docker", "rm", "--force", "--volumes", builder], timeout_s=60)


@contextmanager
def _created(image: str) -> Iterator[str]:
    """A container of `image` that never runs."""
    container = run_command(["docker", "create", image, "true"], timeout_s=60).stdout.strip()
    try:
        yield container
    finally:
        run_command(["docker", "rm", "--force", "--volumes", container], timeout_s=60)
