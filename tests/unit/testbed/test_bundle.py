"""Image bundles: which are taken, which are refused and by what, and that a refused one leaves nothing."""

from __future__ import annotations

import io
import json
import os
import shutil
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from bundles import IMAGES, manifest, write
from checkout import ROOT
from jsonschema import Draft202012Validator

from chaosext.model.errors import Refused
from chaosext.testbed import bundle as module
from chaosext.testbed import versions
from chaosext.testbed.bundle import kept_bundles, newest_bundle, open_bundle, read_bundle
from chaosext.testbed.stage_progress import Progress

if TYPE_CHECKING:
    from collections.abc import Callable
QUIET = Progress(io.StringIO())


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "cache/chaosext").mkdir(parents=True)
    return tmp_path / "cache/chaosext"


def refusal(path: Path) -> Refused:
    """What opening `path` is refused with: a message that names it, and a fix."""
    with pytest.raises(Refused) as caught:
        open_bundle(path, QUIET)
    assert str(path) in caught.value.message
    assert caught.value.fix
    return caught.value


def test_manifest_is_what_the_schema_says() -> None:
    schema = json.loads((ROOT / "docs/schemas/image-bundle.schema.json").read_text())
    for profile in ("full", "tools"):
        Draft202012Validator(schema).validate(manifest(profile))


class TestContent:
    def test_bundle_gives_files_and_images(self, tmp_path: Path) -> None:
        path = write(tmp_path / "bundle")
        found = open_bundle(path, QUIET)
        assert found.file("bin/kind") == path / "bin/kind"
        image = found.image("calico-node")
        assert image.names == ("local/calico/node:1",)
        assert image.layers == (path / "layers/tools.tar", path / "layers/other.tar")
        assert image.config == {"Cmd": ["calico-node"]}
        assert found.manifest.istio == ("local/istio", "1")

    def test_bundle_has_absolute_paths_when_named_by_a_relative_one(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write(tmp_path / "bundle")
        monkeypatch.chdir(tmp_path)
        found = open_bundle(Path("bundle"), QUIET)
        assert (found.path, found.label) == (tmp_path / "bundle", "bundle")

    def test_bundle_tells_images_of_nodes_from_those_of_the_engine(self, tmp_path: Path) -> None:
        found = open_bundle(write(tmp_path / "bundle"), QUIET)
        assert set(found.node_images) == set(IMAGES) - {"node-base", "leaf", "load-balancer"}

    def test_image_key_follows_the_content_of_layers(self, tmp_path: Path) -> None:
        one = read_bundle(write(tmp_path / "one"))
        said = manifest()
        said["files"]["layers/node.tar"]["sha256"] = "0" * 64
        other = read_bundle(write(tmp_path / "other", said))
        assert one.image_key("leaf") == other.image_key("leaf")
        assert one.image_key("node-base") != other.image_key("node-base")

    def test_tools_bundle_needs_no_images(self, tmp_path: Path) -> None:
        assert open_bundle(write(tmp_path / "b", manifest("tools")), QUIET).node_images == ()

    def test_unknown_fields_and_versions_are_passed_over(self, tmp_path: Path) -> None:
        said = manifest()
        said["versions"]["etcd"] = "v3"
        open_bundle(write(tmp_path / "bundle", {**said, "built": "yesterday"}), QUIET)


class TestDamage:
    def test_file_is_named_when_a_byte_differs(self, tmp_path: Path) -> None:
        path = write(tmp_path / "bundle")
        (path / "layers/node.tar").write_text("layers/mode.tar")
        assert "layers/node.tar is damaged" in refusal(path).message

    def test_file_is_named_when_truncated(self, tmp_path: Path) -> None:
        path = write(tmp_path / "bundle")
        (path / "trees/runner.tar").write_text("trees")
        assert "trees/runner.tar has 5 bytes" in refusal(path).message

    def test_file_is_named_when_missing(self, tmp_path: Path) -> None:
        path = write(tmp_path / "bundle")
        (path / "bin/helm").unlink()
        assert "bin/helm" in refusal(path).message

    @pytest.mark.parametrize("target", ["kind.real", "/bin/true"])
    def test_file_is_named_when_it_is_a_link(self, tmp_path: Path, target: str) -> None:
        path = write(tmp_path / "bundle")
        (path / "bin/kind").unlink()
        (path / "bin/kind").symlink_to(target)
        assert "bin/kind is not a regular file" in refusal(path).message

    def test_directory_is_named_when_it_is_a_link(self, tmp_path: Path) -> None:
        path = write(tmp_path / "bundle")
        (path / "bin").rename(tmp_path / "elsewhere")
        (path / "bin").symlink_to(tmp_path / "elsewhere")
        assert "bin is not in its manifest.json" in refusal(path).message

    def test_file_is_named_when_not_in_the_manifest(self, tmp_path: Path) -> None:
        path = write(tmp_path / "bundle")
        (path / "istio/base/templates").mkdir()
        (path / "istio/base/templates/stray.yaml").touch()
        assert "istio/base/templates/stray.yaml is not in its manifest.json" in refusal(path).message

    def test_content_is_read_once_and_again_when_a_file_changes(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = write(tmp_path / "bundle")
        open_bundle(path, QUIET)
        with monkeypatch.context() as patch:
            patch.setattr(module, "digest_of", pytest.fail)
            open_bundle(path, QUIET)
        (path / "bin/kind").write_text("bin/kinx")
        os.utime(path / "bin/kind", ns=(1, 1))
        assert "bin/kind is damaged" in refusal(path).message


def changed(change: Callable[[dict[str, Any]], object]) -> str:
    said = manifest()
    change(said)
    return json.dumps(said)


def rename_file(said: dict[str, Any], name: str) -> None:
    said["files"][name] = said["files"].pop("bin/kind")


BAD_MANIFESTS = {
    "": "manifest.json",
    "{": "manifest.json",
    "[]": "manifest.json",
    "null": "manifest.json",
    "\ufffe": "manifest.json",
    "[" * 100_000: "manifest.json",
    " " * (module.MANIFEST_BYTES + 1): "longer than",
    changed(lambda said: said.pop("schema")): "`schema` is missing",
    changed(lambda said: said.update(schema="chaosext.image-bundle/v2")): "chaosext.image-bundle/v2",
    changed(lambda said: said.update(schema={"a": "x" * 1000})): "`schema` is",
    changed(lambda said: said.update(profile="half")): "profile",
    changed(lambda said: said.update(files=[])): "files",
    changed(lambda said: said["files"]["bin/kind"].update(bytes=-1)): "$.files[...]",
    changed(lambda said: said["files"]["bin/kind"].update(bytes="8")): "$.files[...]",
    changed(lambda said: said["files"]["bin/kind"].update(sha256="0" * 63)): "$.files[...]",
    changed(lambda said: said["files"]["bin/kind"].update(bytes=2**60)): "GiB",
    changed(lambda said: said["files"].pop("bin/customers")): "bin/customers is missing",
    changed(lambda said: said["files"].pop("trees/runner.tar")): "trees/runner.tar is missing",
    changed(lambda said: said["files"].pop("layers/node.tar")): "layers/node.tar",
    changed(lambda said: said["images"].pop("leaf")): "image leaf is missing",
    changed(lambda said: said["images"].pop("istio-pilot")): "image istio-pilot is missing",
    changed(lambda said: said["images"]["shop"].update(names=[])): "image shop has no name",
    changed(lambda said: said["images"]["shop"].update(names=[""])): "image shop has no name",
    changed(lambda said: said["images"]["shop"].update(layers=[])): "layers",
    changed(lambda said: said["images"]["istio-pilot"].update(names=["pilot"])): "HUB/pilot:TAG",
    changed(lambda said: said["images"]["istio-proxy"].update(names=["x/proxyv2:2"])): "HUB/proxyv2:TAG",
    **{
        changed(lambda said, name=name: rename_file(said, name)): "unsafe file name"
        for name in (
            "../x",
            "/bin/sh",
            "bin/../../x",
            "",
            ".",
            "bin//x",
            "bin/",
            ".hidden",
            "a\nb",
            "x" * 300,
        )
    },
}


@pytest.mark.parametrize(("text", "said"), BAD_MANIFESTS.items(), ids=range(len(BAD_MANIFESTS)))
def test_manifest_is_refused_with_what_is_wrong(tmp_path: Path, text: str, said: str) -> None:
    path = write(tmp_path / "bundle")
    (path / "manifest.json").write_text(text, errors="surrogatepass")
    found = refusal(path)
    assert said in found.message
    assert len(found.message) < 1000


@pytest.mark.parametrize("kind", ["missing", "directory", "fifo", "link"])
def test_manifest_is_refused_when_it_is_not_a_regular_file(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path / "bundle")
    (path / "manifest.json").rename(tmp_path / "elsewhere")
    if kind == "directory":
        (path / "manifest.json").mkdir()
    elif kind == "fifo":
        os.mkfifo(path / "manifest.json")
    elif kind == "link":
        (path / "manifest.json").symlink_to(tmp_path / "elsewhere")
    assert "is not an image bundle" in refusal(path).message


class TestFit:
    @pytest.mark.parametrize("name", sorted(manifest()["versions"]))
    def test_bundle_is_refused_when_a_version_differs(self, tmp_path: Path, name: str) -> None:
        said = manifest()
        said["versions"][name] = "v0"
        assert f"{name} v0 instead of " in refusal(write(tmp_path / "bundle", said)).message

    def test_bundle_is_refused_when_a_version_is_missing(self, tmp_path: Path) -> None:
        said = manifest()
        del said["versions"]["kind"]
        assert (
            f"kind unknown instead of {versions.KIND_VERSION}" in refusal(write(tmp_path / "b", said)).message
        )

    def test_bundle_is_refused_when_made_for_another_architecture(self, tmp_path: Path) -> None:
        path = write(tmp_path / "bundle", {**manifest(), "architecture": "riscv64"})
        assert "architecture riscv64 instead of" in refusal(path).message

    def test_path_is_refused_when_nothing_is_there(self, tmp_path: Path) -> None:
        found = refusal(tmp_path / "cloud")
        assert "does not exist" in found.message
        assert "auto, registry" in found.fix

    def test_path_is_refused_when_neither_directory_nor_file(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "fifo")
        assert "neither a directory nor a file" in refusal(tmp_path / "fifo").message

    @pytest.mark.parametrize(
        ("path", "said"),
        [
            ("a" * 300, "File name too long"),
            ("bundle.tar/manifest.json", "Not a directory"),
            ("~nosuchuser/bundle", "home directory"),
            ("bundle\0", "null byte"),
        ],
    )
    def test_path_is_refused_when_it_cannot_be_looked_at(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, said: str
    ) -> None:
        monkeypatch.chdir(tmp_path)
        packed(tmp_path).rename("bundle.tar")
        assert said in refusal(Path(path)).message


class TestTar:
    @pytest.mark.parametrize(
        ("mode", "top"), [("w", ""), ("w", "./"), ("w:gz", ""), ("w:xz", "bundle-full-0123/"), ("w", "a b/")]
    )
    def test_bundle_is_unpacked(self, tmp_path: Path, mode: Any, top: str) -> None:
        path = packed(tmp_path, mode=mode, top=top)
        if top == "a b/":
            refusal(path)
            return
        found = open_bundle(path, QUIET)
        assert found.label == str(path)
        assert found.file("layers/node.tar").read_text() == "layers/node.tar"
        assert found.file("bin/kind").stat().st_mode & 0o777 == 0o755

    def test_bundle_is_unpacked_once_and_found_later(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = packed(tmp_path)
        first = open_bundle(path, QUIET)
        monkeypatch.setattr(module, "_unpack", pytest.fail)
        assert open_bundle(path, QUIET).path == first.path
        assert newest_bundle(full=True).path == first.path

    def test_tar_is_refused_when_truncated(self, tmp_path: Path, cache: Path) -> None:
        path = packed(tmp_path)
        path.write_bytes(path.read_bytes()[:6000])
        refusal(path)
        assert not list(cache.glob("bundle-*"))

    @pytest.mark.parametrize("mode", ["w:gz", "w:xz", "w:bz2"])
    def test_tar_is_refused_when_compression_is_damaged(self, tmp_path: Path, cache: Path, mode: str) -> None:
        path = packed(tmp_path, mode=mode)
        content = bytearray(path.read_bytes())
        content[200:210] = b"0123456789"
        path.write_bytes(content)
        refusal(path)
        assert not list(cache.glob("bundle-*"))

    def test_tar_is_refused_when_a_file_in_it_is_damaged(self, tmp_path: Path, cache: Path) -> None:
        directory = write(tmp_path / "bundle")
        (directory / "bin/helm").write_text("bin/held")
        assert "bin/helm is damaged" in refusal(packed(tmp_path, directory)).message
        assert not list(cache.glob("bundle-*"))

    def test_tar_is_refused_when_it_is_not_one(self, tmp_path: Path) -> None:
        (tmp_path / "text").write_text("hello\n" * 1000)
        assert refusal(tmp_path / "text").message.endswith("cannot be unpacked: not a tar file")

    @pytest.mark.parametrize("name", ["../../escaped", "/escaped", "bin/../../../escaped"])
    def test_tar_is_refused_when_a_name_leads_outside(self, tmp_path: Path, cache: Path, name: str) -> None:
        path = packed(tmp_path, extra=tarfile.TarInfo(name))
        assert "escaped" in refusal(path).message
        assert not list(tmp_path.rglob("escaped"))
        assert not list(cache.glob("bundle-*"))

    @pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
    def test_tar_is_refused_when_it_holds_anything_but_files(self, tmp_path: Path, kind: bytes) -> None:
        extra = tarfile.TarInfo("bin/extra")
        extra.type, extra.linkname = kind, "/etc/passwd"
        assert "bin/extra" in refusal(packed(tmp_path, extra=extra)).message

    def test_tar_is_refused_when_a_file_is_in_it_twice(self, tmp_path: Path) -> None:
        refusal(packed(tmp_path, extra=tarfile.TarInfo("bin/kind")))

    def test_tar_is_refused_when_far_too_large(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "MAX_BYTES", 100)
        assert "too large" in refusal(packed(tmp_path)).message


def packed(
    tmp_path: Path,
    directory: Path | None = None,
    *,
    mode: Any = "w",
    top: str = "",
    extra: tarfile.TarInfo | None = None,
) -> Path:
    """A tar file of a bundle, each name with `top` before it, and with a last member `extra`."""
    directory = directory or write(tmp_path / "to-pack")
    path = tmp_path / "bundle.tar"
    with tarfile.open(path, mode) as archive:
        for each in sorted(directory.rglob("*")):
            archive.add(each, f"{top}{each.relative_to(directory)}", recursive=False)
        if extra:
            archive.addfile(extra)
    return path


class TestCache:
    def put(self, cache: Path, name: str, age_s: int, said: dict[str, Any] | None = None) -> Path:
        path = write(cache / name, said)
        os.utime(path, (10**9 - age_s, 10**9 - age_s))
        return path

    def test_newest_bundle_that_fits_is_taken(self, cache: Path) -> None:
        misfit = {**manifest(), "architecture": "riscv64"}
        self.put(cache, "bundle-full-1", 30)
        wanted = self.put(cache, "bundle-full-2", 20)
        self.put(cache, "bundle-full-3", 10, misfit)
        tools = self.put(cache, "bundle-tools-4", 5, manifest("tools"))
        self.put(cache, "bundle-full-5.partial", 0)
        (self.put(cache, "bundle-full-6", 0) / "manifest.json").unlink()
        assert newest_bundle(full=True).path == wanted
        assert newest_bundle(full=False).path == tools

    def test_refusal_says_why_each_bundle_does_not_do(self, cache: Path) -> None:
        self.put(cache, "bundle-full-1", 30, {**manifest(), "architecture": "riscv64"})
        self.put(cache, "bundle-tools-2", 20, manifest("tools"))
        with pytest.raises(Refused) as caught:
            newest_bundle(full=True)
        assert "bundle-full-1: architecture riscv64 instead of" in caught.value.message
        assert "bundle-tools-2: it contains no images" in caught.value.message
        assert "make images" in caught.value.fix
        assert "--images PATH" in caught.value.fix

    def test_refusal_says_how_to_get_one_when_there_is_none(self, cache: Path) -> None:
        shutil.rmtree(cache)
        with pytest.raises(Refused, match="contains no image bundle") as caught:
            newest_bundle(full=False)
        assert "make images" in caught.value.fix
        assert kept_bundles() == []
