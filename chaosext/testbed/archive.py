"""Build container images without a daemon: layers as tar files, and archives.

Archives are for `docker load` and containerd. The format is Docker's image specification v1.2 (manifest.json,
one config per image, layers by digest).
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from chaosext.testbed.cache import kept
from chaosext.testbed.versions import ARCHITECTURE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

EPOCH = "1970-01-01T00:00:00Z"  # fixed, so that the same inputs make the same image
SEARCH_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerEntry:
    """One path in a layer: a file, a symlink, a hard link, or a directory.

    `path` has no leading slash. The content is a file on disk (`source`) or a `text`; a hard link refers to
    an earlier entry. Without `source`, `text`, `symlink` or `hardlink`, the entry is a directory.
    """

    path: str
    source: Path | None = None
    text: str | None = None
    symlink: str | None = None
    hardlink: str | None = None
    mode: int = 0o755
    uid: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image: its names, its layers (tar files, lowest first) and the `config` of Docker's specification."""

    names: tuple[str, ...]
    layers: tuple[Path, ...]
    config: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """An image to build: `entries` as one layer on `base` (a tar file of a file system; None: no base layer)."""

    names: tuple[str, ...]
    entries: tuple[LayerEntry, ...]
    base: Path | None = None
    config: Mapping[str, object] = field(default_factory=dict)

    @property
    def inputs(self) -> object:
        """Everything that determines the image's content. Paths of cached files contain their key."""
        return [self.names, [repr(entry) for entry in self.entries], str(self.base), dict(self.config)]

    def image(self) -> Image:
        """Write the layer, unless it is cached, and return the image."""
        name = f"layer-{self.names[0].rsplit('/', 1)[-1].split(':')[0]}"
        inputs = [repr(entry) for entry in self.entries]
        layer = kept(name, inputs, lambda target: write_layer(target / "layer.tar", self.entries))
        layers = (layer / "layer.tar",) if self.base is None else (self.base, layer / "layer.tar")
        return Image(names=self.names, layers=layers, config={"Env": [SEARCH_PATH], **self.config})


def write_layer(target: Path, entries: Iterable[LayerEntry]) -> None:
    """Write `entries` as one uncompressed layer with numeric owners and zero timestamps."""
    with tarfile.open(target, "w", format=tarfile.GNU_FORMAT) as layer:
        for entry in entries:
            _add(layer, entry)


def write_archive(target: Path, images: Iterable[Image]) -> None:
    """Write `images` into one archive for `docker load` or `ctr images import`; shared layers only once."""
    digests: dict[Path, str] = {}
    manifest = []
    with tarfile.open(target, "w", format=tarfile.GNU_FORMAT) as archive:
        for image in images:
            for layer in image.layers:
                if layer not in digests:
                    digests[layer] = digest_of(layer)
                    archive.add(layer, arcname=f"{digests[layer]}.tar", filter=_anonymous)
            diff_ids = [digests[layer] for layer in image.layers]
            config = image_config(image, diff_ids)
            name = f"{hashlib.sha256(config).hexdigest()}.json"
            _add_bytes(archive, name, config)
            layers = [f"{digest}.tar" for digest in diff_ids]
            manifest.append({"Config": name, "RepoTags": list(image.names), "Layers": layers})
        _add_bytes(archive, "manifest.json", json.dumps(manifest).encode())


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def image_config(image: Image, diff_ids: Iterable[str]) -> bytes:
    """Return the image's configuration as JSON; its hash is the image's ID."""
    body = {
        "architecture": ARCHITECTURE,
        "os": "linux",
        "created": EPOCH,
        "config": dict(image.config),
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}" for digest in diff_ids]},
    }
    return json.dumps(body, sort_keys=True).encode()


def _add(layer: tarfile.TarFile, entry: LayerEntry) -> None:
    info = tarfile.TarInfo(entry.path)
    info.mode, info.uid, info.gid = entry.mode, entry.uid, entry.uid
    if entry.source is not None:
        info.size = entry.source.stat().st_size
        with entry.source.open("rb") as content:
            layer.addfile(info, content)
    elif entry.text is not None:
        content_bytes = entry.text.encode()
        info.size = len(content_bytes)
        layer.addfile(info, io.BytesIO(content_bytes))
    else:
        info.type, info.linkname = _kind(entry)
        layer.addfile(info)


def _kind(entry: LayerEntry) -> tuple[bytes, str]:
    if entry.symlink is not None:
        return tarfile.SYMTYPE, entry.symlink
    if entry.hardlink is not None:
        return tarfile.LNKTYPE, entry.hardlink
    return tarfile.DIRTYPE, ""


def _add_bytes(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    archive.addfile(info, io.BytesIO(content))


def _anonymous(info: tarfile.TarInfo) -> tarfile.TarInfo:
    info.uid = info.gid = info.mtime = 0
    info.uname = info.gname = ""
    info.mode = 0o644
    return info
