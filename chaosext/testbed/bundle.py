"""Image bundles: everything that `testbed up` does not pull from a registry, in one directory with a manifest.

The builder is `hack/images` in chaosext's sources. This module finds, reads, checks and unpacks its bundles;
docs/formats.md describes the format.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import tarfile
from contextlib import suppress
from dataclasses import dataclass
from lzma import LZMAError
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal
from zlib import error as ZlibError

import msgspec

from chaosext.model.errors import Refused
from chaosext.model.paths import cache_home
from chaosext.nodes.image_names import base_key
from chaosext.testbed import versions
from chaosext.testbed.archive import Image, digest_of
from chaosext.testbed.cache import PARTIAL, kept, key_of
from chaosext.testbed.kubernetes_releases import DEFAULT_KUBERNETES, RELEASES, is_asked_for, minor_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from chaosext.testbed.stage_progress import Progress

Profile = Literal["full", "tools"]
"""`full`: all images and all tools. `tools`: only what a registry's official images lack."""

SCHEMA = "chaosext.image-bundle/v1"
MANIFEST = "manifest.json"
PREFIX = "bundle-"
"""Name prefix of bundles in the user's cache."""

MANIFEST_BYTES = 4 * 2**20
MAX_FILES = 10_000
MAX_BYTES = 32 * 2**30
"""Size limits of a bundle. A bundle of profile `full` has some 150 files and 2.2 GiB."""

UNFIT_SHOWN = 3

COMMANDS = ("kind", "helm", "shop", "customers")
CNI_PLUGINS = ("bridge", "macvlan")
"""CNI plugins that kind's node image lacks."""
TREES = ("python", "runner")
ENGINE_IMAGES = ("node-base", "leaf", "load-balancer")
"""Images for the Docker engine; all others are loaded into the nodes' containerd."""
NAMED_IMAGES = (
    "calico-node", "calico-cni", "flannel", "flannel-cni", "kube-router",
    "istio-pilot", "istio-proxy", "shop", "client",
)  # fmt: skip
"""Images on the nodes that the testbed's manifests name."""

FLANNEL_MANIFEST = "flannel/kube-flannel.yml"
KUBE_ROUTER_MANIFEST = "kube-router/kubeadm-kuberouter.yaml"
NEEDED_FILES: Mapping[Profile, tuple[str, ...]] = {
    "tools": (
        *(f"bin/{name}" for name in (*COMMANDS, *CNI_PLUGINS)),
        "calico/calico.yaml",
        FLANNEL_MANIFEST,
        KUBE_ROUTER_MANIFEST,
        "istio/base/Chart.yaml",
        "istio/istio-control/istio-discovery/Chart.yaml",
    ),
    "full": tuple(f"trees/{name}.tar" for name in TREES),
}
SAFE_NAME = re.compile(r"[\w@+-][\w@+.-]*(/[\w@+-][\w@+.-]*)*", re.ASCII)
"""A relative path without `.`, `..` and hidden names."""

CHOICES = "use --images auto, registry, or the path of an image bundle"
AGAIN = "fetch the bundle again, or remove it and run `make images` in a checkout of this version of chaosext"
UNREADABLE = (OSError, EOFError, tarfile.TarError, ZlibError, LZMAError)


class BundleFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file of a bundle: its size in bytes and its SHA-256 in hexadecimal digits."""

    bytes: Annotated[int, msgspec.Meta(ge=0)]
    sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]


class BundleImage(msgspec.Struct, frozen=True, kw_only=True):
    """An image: the names of its layers' files, lowest first, and the `config` of Docker's specification."""

    layers: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    config: dict[str, Any] = {}
    names: tuple[str, ...] = ()


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """The content of manifest.json: `files` by their paths in the bundle, `images` by their roles."""

    schema: str
    profile: Profile
    chaosext: str
    architecture: str
    versions: dict[str, str]
    files: Annotated[dict[str, BundleFile], msgspec.Meta(max_length=MAX_FILES)]
    images: dict[str, BundleImage] = {}

    @property
    def kubernetes(self) -> str:
        """The version of Kubernetes in its images; "" without images."""
        return self.versions.get("kubernetes", "")

    @property
    def istio(self) -> tuple[str, str]:
        """Hub and tag, from which Istio's charts compose the names of its images."""
        hub, _, tag = self.images["istio-pilot"].names[0].rpartition("/pilot:")
        return hub, tag


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle whose manifest was read. Messages call it `label`."""

    path: Path
    manifest: Manifest
    label: str

    def file(self, name: str) -> Path:
        """Return the path of a file or directory in the bundle."""
        return self.path / name

    def digest(self, name: str) -> str:
        """Return the SHA-256 of a file in the bundle."""
        return self.manifest.files[name].sha256

    def image(self, role: str) -> Image:
        """Return the image with that role."""
        found = self.manifest.images[role]
        layers = tuple(map(self.file, found.layers))
        return Image(names=found.names, layers=layers, config=found.config)

    def image_key(self, *roles: str) -> str:
        """Return a key that changes whenever the content of one of these images changes."""
        images = [self.manifest.images[role] for role in roles]
        return key_of([[each.names, list(map(self.digest, each.layers)), each.config] for each in images])

    @property
    def node_images(self) -> tuple[str, ...]:
        """The roles of the images that are loaded into the nodes' containerd."""
        return tuple(role for role in self.manifest.images if role not in ENGINE_IMAGES)


def wanted_versions(profile: Profile) -> dict[str, str]:
    """Return the versions that this chaosext can bring up, by component; for Kubernetes, see `misfits`."""
    tools = {
        "calico": versions.CALICO_VERSION,
        "cni plugins": versions.CNI_PLUGINS_VERSION,
        "customers": versions.CUSTOMERS_VERSION,
        "flannel": versions.FLANNEL_VERSION,
        "helm": versions.HELM_VERSION,
        "istio": versions.ISTIO_VERSION,
        "kind": versions.KIND_VERSION,
        "kube-router": versions.KUBE_ROUTER_VERSION,
        "shop": versions.SHOP_VERSION,
    }
    if profile == "tools":
        return tools
    return {**tools, "runner base": base_key()}


def misfits(manifest: Manifest, kubernetes: str | None = None) -> list[str]:
    """List why this chaosext cannot use a bundle, each as `kind v0.32.0 instead of v0.33.0`; empty if it can.

    `kubernetes` is the version that its images must run, such as "1.33" or "v1.33.13"; None for each of `RELEASES`.
    """
    wanted = {"architecture": versions.ARCHITECTURE, **wanted_versions(manifest.profile)}
    held = {**manifest.versions, "architecture": manifest.architecture}
    found = [
        f"{name} {held.get(name, 'unknown')} instead of {version}"
        for name, version in wanted.items()
        if held.get(name) != version
    ]
    if manifest.profile == "full" and not _runs(manifest.kubernetes, kubernetes):
        instead = kubernetes or f"one of {', '.join(RELEASES)}"
        found.append(f"kubernetes {manifest.kubernetes or 'unknown'} instead of {instead}")
    return found


def _runs(held: str, asked: str | None) -> bool:
    return is_asked_for(held, asked) if asked else minor_of(held) in RELEASES


def open_bundle(path: Path, progress: Progress, kubernetes: str | None = None) -> Bundle:
    """Open and check the whole bundle at `path`: a directory, or a tar file of one; `kubernetes` as in `misfits`.

    A tar file is unpacked into the user's cache. Raises `Refused`, which names the wrong file and the fix.
    """
    try:
        found = path.expanduser()
        mode = found.stat().st_mode
    except (OSError, RuntimeError, ValueError) as error:  # no such home directory, or a NUL byte
        missing = isinstance(error, FileNotFoundError)
        raise Refused(
            f"image bundle {path}: {'does not exist' if missing else _reason(error)}", CHOICES
        ) from error
    if stat.S_ISDIR(mode):
        return _checked(found.absolute(), str(path), progress, kubernetes)
    if stat.S_ISREG(mode):
        return _unpacked(found, progress, kubernetes)
    raise Refused(f"image bundle {path}: neither a directory nor a file", CHOICES)


def newest_bundle(*, full: bool, kubernetes: str | None = None) -> Bundle:
    """Return the newest bundle in the user's cache that fits this chaosext; its content is not checked yet.

    With `full`, its images run `kubernetes` (see `misfits`). Raises `Refused` if there is none; the message says why
    the bundles in the cache do not fit.
    """
    unfit = []
    for path in kept_bundles():
        try:
            bundle = read_bundle(path)
        except Refused as error:
            unfit.append(error.message)
            continue
        problems = misfits(bundle.manifest, kubernetes if full else None)
        if full and bundle.manifest.profile != "full":
            problems = ["it contains no images (profile tools)"]
        if not problems:
            return bundle
        unfit.append(f"{path.name}: {', '.join(problems)}")
    what = "image bundle with images" if full else "image bundle"
    runs = f" and Kubernetes {kubernetes}" if full and kubernetes else ""
    why = f"{cache_home()} contains no {what} for this version of chaosext{runs}"
    raise Refused("; ".join([why, *unfit[:UNFIT_SHOWN]]), how_to_get(kubernetes if full else None))


def how_to_get(kubernetes: str | None = None) -> str:
    """Say how to get a bundle that fits."""
    words = f" KUBERNETES={kubernetes}" if kubernetes and kubernetes != DEFAULT_KUBERNETES else ""
    return f"run `make images{words}` in a checkout of this version of chaosext, or pass a bundle with --images PATH"


def kept_bundles() -> list[Path]:
    """List the bundles in the user's cache, newest first."""
    found: list[tuple[float, Path]] = []
    for path in cache_home().glob(f"{PREFIX}*"):
        with suppress(FileNotFoundError):  # another process has just removed it
            if path.suffix != PARTIAL and path.is_dir():
                found.append((path.stat().st_mtime, path))
    return [path for _, path in sorted(found, reverse=True)]


def read_bundle(path: Path, label: str = "") -> Bundle:
    """Read the bundle in `path`: only its manifest. Raises `Refused` if the manifest is not valid."""
    label = label or str(path)
    try:
        manifest = _read_manifest(path / MANIFEST)
    except (OSError, ValueError, RecursionError, msgspec.MsgspecError) as error:
        raise Refused(f"{label} is not an image bundle: {MANIFEST}: {_reason(error)}", AGAIN) from error
    if problem := next(_problems(manifest), ""):
        raise Refused(f"image bundle {label}: {MANIFEST}: {problem}", AGAIN)
    return Bundle(path=path, manifest=manifest, label=label)


def check_content(bundle: Bundle, progress: Progress) -> None:
    """Compare every file with the manifest. Raises `Refused`, which names the first file that differs.

    Hashing 2 GiB takes seconds, so files that have not changed since an earlier check (same inode, size and
    modification time) are not read again.
    """
    for name in _unlisted(bundle):
        raise Refused(f"image bundle {bundle.label}: {name} is not in its {MANIFEST}", "remove that file")
    found = {name: _status(bundle, name) for name in sorted(bundle.manifest.files)}
    as_found = [
        [name, each.st_dev, each.st_ino, each.st_size, each.st_mtime_ns] for name, each in found.items()
    ]
    checked = cache_home() / "checked" / key_of([msgspec.to_builtins(bundle.manifest), as_found])
    if checked.exists():
        return
    with progress.stage(f"Check image bundle {bundle.label}"):
        for name in found:
            _check_digest(bundle, name)
    checked.parent.mkdir(parents=True, exist_ok=True)
    checked.touch()


def _read_manifest(path: Path) -> Manifest:
    """Read and validate manifest.json.

    Raises `OSError`, or `ValueError` or `MsgspecError` with the reason.
    """
    if not stat.S_ISREG(path.lstat().st_mode):
        raise ValueError("not a regular file")
    with path.open("rb") as file:
        text = file.read(MANIFEST_BYTES + 1)
    if len(text) > MANIFEST_BYTES:
        raise ValueError(f"longer than {MANIFEST_BYTES} bytes")
    schema = msgspec.json.decode(text, type=dict[str, msgspec.Raw]).get("schema")
    if schema is None or msgspec.json.decode(schema) != SCHEMA:
        said = bytes(schema).decode(errors="replace")[:80] if schema else "missing"
        raise ValueError(f'`schema` is {said}, but this version of chaosext reads "{SCHEMA}"')
    return msgspec.json.decode(text, type=Manifest)


def _problems(manifest: Manifest) -> Iterator[str]:
    """Yield what is wrong with a manifest whose types are valid, the most basic problem first."""
    files, images = manifest.files, manifest.images
    yield from (f"unsafe file name {name!r}" for name in files if not _is_safe(name) or name == MANIFEST)
    if sum(each.bytes for each in files.values()) > MAX_BYTES:
        yield f"more than {MAX_BYTES >> 30} GiB of files"
    for role, image in images.items():
        yield from (
            f"image {role}: layer {layer!r} is not in `files`" for layer in image.layers if layer not in files
        )
        if role not in ENGINE_IMAGES and not (image.names and all(image.names)):
            yield f"image {role} has no name"
    needed = [*NEEDED_FILES["tools"], *(NEEDED_FILES["full"] if manifest.profile == "full" else ())]
    yield from (f"file {name} is missing from `files`" for name in needed if name not in files)
    if manifest.profile == "full":
        roles = (*ENGINE_IMAGES, *NAMED_IMAGES)
        yield from (f"image {role} is missing from `images`" for role in roles if role not in images)
        hub, tag = manifest.istio
        names = images["istio-proxy"].names
        if not (hub and tag) or names[0] != f"{hub}/proxyv2:{tag}":
            yield "Istio's images are not named HUB/pilot:TAG and HUB/proxyv2:TAG"


def _is_safe(name: str) -> bool:
    return len(name) <= 255 and SAFE_NAME.fullmatch(name) is not None


def _unlisted(bundle: Bundle) -> Iterator[str]:
    """Yield files that the manifest does not list: Helm would treat one among the charts as a template."""
    for directory, directories, names in os.walk(bundle.path):
        here = Path(directory).relative_to(bundle.path)
        links = [each for each in directories if Path(directory, each).is_symlink()]
        for name in (str(here / each) for each in (*names, *links)):
            if name != MANIFEST and name not in bundle.manifest.files:
                yield name


def _status(bundle: Bundle, name: str) -> os.stat_result:
    """Return the status of a file. Raises `Refused` unless it is a regular file of the listed size."""
    try:
        status = bundle.file(name).lstat()
    except OSError as error:
        raise Refused(f"image bundle {bundle.label}: {name}: {error.strerror}", AGAIN) from error
    size = bundle.manifest.files[name].bytes
    if not stat.S_ISREG(status.st_mode):
        raise Refused(f"image bundle {bundle.label}: {name} is not a regular file", AGAIN)
    if status.st_size != size:
        raise Refused(
            f"image bundle {bundle.label}: {name} has {status.st_size} bytes, but its {MANIFEST} says {size}",
            AGAIN,
        )
    return status


def _check_digest(bundle: Bundle, name: str) -> None:
    try:
        found = digest_of(bundle.file(name))
    except OSError as error:
        raise Refused(f"image bundle {bundle.label}: {name}: {error.strerror}", AGAIN) from error
    if found != bundle.digest(name):
        raise Refused(
            f"image bundle {bundle.label}: {name} is damaged (its SHA-256 is not the one in {MANIFEST})",
            AGAIN,
        )


def _unpacked(tar: Path, progress: Progress, kubernetes: str | None) -> Bundle:
    """Unpack the bundle in a tar file into the user's cache, unless it is there already."""
    status = tar.stat()
    inputs = [str(tar.resolve()), status.st_size, status.st_mtime_ns, status.st_ino]

    def unpack(target: Path) -> None:
        try:
            _unpack(tar, target)
            _checked(target, str(tar), progress, kubernetes)
        except BaseException:
            shutil.rmtree(target, ignore_errors=True)  # it may be gigabytes
            raise

    path = kept(f"{PREFIX}unpacked", inputs, unpack, lambda: progress.stage(f"Unpack image bundle {tar}"))
    return _checked(path, str(tar), progress, kubernetes)


def _checked(path: Path, label: str, progress: Progress, kubernetes: str | None) -> Bundle:
    bundle = read_bundle(path, label)
    if problems := misfits(bundle.manifest, kubernetes):
        why = f"image bundle {label} does not fit this version of chaosext: {', '.join(problems)}"
        raise Refused(why, how_to_get(kubernetes))
    check_content(bundle, progress)
    return bundle


def _unpack(tar: Path, target: Path) -> None:
    """Write the regular files of a tar file, compressed or not, into `target`. Raises `Refused`."""
    try:
        with tarfile.open(tar) as archive:
            for member, name in _members(archive, tar):
                path = target / name
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("xb") as file, archive.extractfile(member) as content:  # type: ignore[union-attr]
                    shutil.copyfileobj(content, file, 2**20)
                path.chmod(0o755 if path.parent.name == "bin" else 0o644)
    except UNREADABLE as error:
        # tarfile reports each format that it tried, one per line.
        why = "not a tar file" if "\n" in str(error) else _reason(error)
        raise Refused(f"image bundle {tar} cannot be unpacked: {why}", AGAIN) from error
    _lift(target)


def _reason(error: Exception) -> str:
    """Return the error's message in one line."""
    return getattr(error, "strerror", None) or " ".join(str(error).split())


def _members(archive: tarfile.TarFile, tar: Path) -> Iterator[tuple[tarfile.TarInfo, str]]:
    """Yield the files of an archive and their safe names. Raises `Refused` beyond a bundle's size limits."""
    size = 0
    for number, member in enumerate(archive):
        name = member.name.removeprefix("./")
        size += member.size
        if number > 2 * MAX_FILES or size > MAX_BYTES:
            raise Refused(f"{tar} is not an image bundle: it is far too large", AGAIN)
        if member.isdir():
            continue
        if not member.isreg() or not _is_safe(name):
            raise Refused(f"{tar} is not an image bundle: it contains {name!r:.100}", AGAIN)
        yield member, name


def _lift(target: Path) -> None:
    """Move the content of a single top directory, as `tar -c bundle-full-KEY` creates it, one level up."""
    children = list(target.iterdir())
    if len(children) == 1 and children[0].is_dir():
        inside = children[0].rename(target / ".inside")
        for child in inside.iterdir():
            child.rename(target / child.name)
        inside.rmdir()


def manifest_bytes(manifest: Manifest) -> bytes:
    """Return the text of manifest.json; equal manifests give equal bytes."""
    return msgspec.json.format(msgspec.json.encode(manifest, order="sorted"), indent=2) + b"\n"
