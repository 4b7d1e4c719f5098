"""What the builder writes is what `testbed up` takes; without a Docker Engine, in little space, the same twice."""

from __future__ import annotations

import io
import json
import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from checkout import ROOT
from jsonschema import Draft202012Validator

from chaosext.cli.main import invoke
from chaosext.model.errors import ChaosextError, Refused
from chaosext.testbed.archive import Image, digest_of
from chaosext.testbed.bundle import CNI_PLUGINS, NEEDED_FILES, newest_bundle, open_bundle, wanted_versions
from chaosext.testbed.stage_progress import Progress
from hack.images import __main__ as command
from hack.images import builder
from hack.images.builder import Contents, Tools, build_bundle, export_bundle, write_bundle

if TYPE_CHECKING:
    from pathlib import Path

    from chaosext.testbed.bundle import Bundle
QUIET = Progress(io.StringIO())
ROLES = (
    "node-base", "leaf", "load-balancer", "kube-proxy", "calico-node", "calico-cni", "flannel", "flannel-cni",
    "kube-router", "shop", "client",
)  # fmt: skip


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's cache, on a machine whose PATH has no docker."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path / "none"))
    home = tmp_path / "cache/chaosext"
    home.mkdir(parents=True)
    return home


def put(path: Path, text: str, mode: int = 0o644) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


@pytest.fixture
def contents(cache: Path, tmp_path: Path) -> Contents:
    """Those of a bundle of profile `full`: commands and trees as kept builds, the rest as from a module cache."""
    names = (*NEEDED_FILES["tools"], *NEEDED_FILES["full"])
    files = {
        name: put(
            (tmp_path / "modules" if name.startswith(("calico", "istio")) else cache / "part-1") / name,
            name,
            0o755 if name.startswith("bin/") else 0o644,
        )
        for name in names
    }
    tree, top = put(cache / "rootfs-1/tree.tar", "tree"), put(cache / "layer-1/layer.tar", "top")
    twin = put(cache / "layer-2/layer.tar", "top")
    images = {
        role: Image(names=(f"local/{role}:1",), layers=(tree, top), config={"Cmd": [role]}) for role in ROLES
    }
    images["istio-pilot"] = Image(names=("local/istio/pilot:1",), layers=(tree, twin))
    images["istio-proxy"] = Image(names=("local/istio/proxyv2:1",), layers=(top,))
    return Contents(
        profile="full",
        files=files,
        versions={**wanted_versions("full"), "kubernetes": "v1.34.4"},
        images=images,
    )


@pytest.fixture
def bundle(contents: Contents, tmp_path: Path) -> Bundle:
    (tmp_path / "bundle").mkdir()
    write_bundle(tmp_path / "bundle", contents)
    return open_bundle(tmp_path / "bundle", QUIET)


class TestWriting:
    def test_bundle_holds_files_and_images(self, bundle: Bundle, contents: Contents) -> None:
        for name, source in contents.files.items():
            assert bundle.file(name).read_text() == source.read_text()
            assert bundle.digest(name) == digest_of(source)
        for role, image in contents.images.items():
            found = bundle.image(role)
            assert (found.names, found.config) == (image.names, image.config)
            assert [each.read_text() for each in found.layers] == [each.read_text() for each in image.layers]

    def test_layer_is_stored_once_when_images_share_its_content(self, bundle: Bundle) -> None:
        assert len(list(bundle.file("layers").iterdir())) == 2

    def test_kept_build_is_linked_and_module_file_is_copied(self, bundle: Bundle, contents: Contents) -> None:
        assert bundle.file("bin/kind").samefile(contents.files["bin/kind"])
        assert bundle.image("leaf").layers[0].samefile(contents.images["leaf"].layers[0])
        assert not bundle.file("calico/calico.yaml").samefile(contents.files["calico/calico.yaml"])

    def test_kept_build_is_copied_when_it_cannot_be_linked(
        self, contents: Contents, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: object) -> None:
            raise OSError(18, "Invalid cross-device link")

        monkeypatch.setattr(os, "link", fail)
        (tmp_path / "copy").mkdir()
        write_bundle(tmp_path / "copy", contents)
        found = open_bundle(tmp_path / "copy", QUIET)
        assert found.file("bin/kind").stat().st_mode & 0o777 == 0o755
        assert not found.file("bin/kind").samefile(contents.files["bin/kind"])

    def test_manifest_is_the_same_for_the_same_contents(
        self, bundle: Bundle, contents: Contents, tmp_path: Path
    ) -> None:
        (tmp_path / "again").mkdir()
        write_bundle(tmp_path / "again", contents)
        assert bundle.file("manifest.json").read_bytes() == (tmp_path / "again/manifest.json").read_bytes()

    def test_manifest_is_what_the_schema_says(self, bundle: Bundle) -> None:
        schema = json.loads((ROOT / "docs/schemas/image-bundle.schema.json").read_text())
        Draft202012Validator(schema).validate(json.loads(bundle.file("manifest.json").read_text()))


class TestExport:
    @pytest.mark.parametrize("name", ["copy", "deep/er/copy", "bundle.tar"])
    def test_copy_is_taken_by_testbed_up(self, bundle: Bundle, tmp_path: Path, name: str) -> None:
        export_bundle(bundle, tmp_path / "out" / name)
        found = open_bundle(tmp_path / "out" / name, QUIET)
        assert found.manifest == bundle.manifest
        assert not found.file("bin/kind").samefile(bundle.file("bin/kind"))
        assert found.file("bin/kind").stat().st_mode & 0o777 == 0o755

    def test_tar_is_the_same_for_the_same_bundle(self, bundle: Bundle, tmp_path: Path) -> None:
        for name in ("one.tar", "two.tar"):
            export_bundle(bundle, tmp_path / name)
        assert digest_of(tmp_path / "one.tar") == digest_of(tmp_path / "two.tar")

    def test_output_is_refused_when_it_exists(self, bundle: Bundle, tmp_path: Path) -> None:
        put(tmp_path / "mine", "precious")
        with pytest.raises(Refused, match="exists"):
            export_bundle(bundle, tmp_path / "mine")
        assert (tmp_path / "mine").read_text() == "precious"

    def test_output_is_refused_when_it_cannot_be_written(self, bundle: Bundle, tmp_path: Path) -> None:
        put(tmp_path / "file", "")
        with pytest.raises(Refused, match="cannot be written"):
            export_bundle(bundle, tmp_path / "file/bundle.tar")

    def test_failed_copy_leaves_nothing(
        self, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: object) -> None:
            raise OSError(28, "No space left on device")

        put(tmp_path / "out/bundle.tar.partial", "of a killed process")
        monkeypatch.setattr(builder.tarfile.TarFile, "addfile", fail)
        with pytest.raises(Refused, match="No space left on device"):
            export_bundle(bundle, tmp_path / "out/bundle.tar")
        assert list((tmp_path / "out").iterdir()) == []


@pytest.fixture
def tools(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tools:
    """Built tools, and modules of Calico and Istio; nothing else is built."""
    names = ("kind", "helm", "shop", "customers")
    directories = {name: put(cache / f"{name}-1" / name, name, 0o755).parent for name in names}
    for path in (
        "manifests/calico.yaml",
        "Documentation/kube-flannel.yml",
        "daemonset/kubeadm-kuberouter.yaml",
        "manifests/tigera.yaml",
        "manifests/charts/base/Chart.yaml",
        "manifests/charts/base/templates/one.yaml",
        "manifests/charts/gateway/Chart.yaml",
        "manifests/charts/istio-control/istio-discovery/Chart.yaml",
    ):
        put(tmp_path / "module" / path, path)
    for plugin in CNI_PLUGINS:
        put(cache / "cni-1" / plugin, plugin, 0o755)
    made = Tools(**directories, cni_plugins=cache / "cni-1")
    monkeypatch.setattr(builder, "module_directory", lambda _: tmp_path / "module")
    monkeypatch.setattr(builder, "ensure_go", lambda _: None)
    monkeypatch.setattr(builder, "build_tools", lambda _: made)
    monkeypatch.setattr(builder, "build_parts", lambda *_: pytest.fail("built images"))
    return made


@pytest.mark.usefixtures("tools")
class TestBuilding:
    def test_tools_bundle_is_what_testbed_up_takes_beside_a_registry(self) -> None:
        path = build_bundle("tools", QUIET)
        assert newest_bundle(full=False).path == path
        assert (path / "istio/base/templates/one.yaml").is_file()
        assert not (path / "istio/gateway").exists()
        assert [each.name for each in (path / "calico").iterdir()] == ["calico.yaml"]

    def test_bundle_is_built_once_and_is_the_newest_when_asked_for_again(
        self, cache: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = build_bundle("tools", QUIET)
        os.utime(path, (1, 1))
        other = put(cache / "shop-2/shop", "other shop", 0o755).parent
        with monkeypatch.context() as patch:
            made = builder.build_tools(QUIET)
            changed = replace(made, shop=other)
            patch.setattr(builder, "build_tools", lambda _: changed)
            newer = build_bundle("tools", QUIET)
            assert newer == newest_bundle(full=False).path != path
        os.utime(newer, (2, 2))
        monkeypatch.setattr(builder, "write_bundle", pytest.fail)
        assert build_bundle("tools", QUIET) == newest_bundle(full=False).path == path

    def test_failed_bundle_is_not_taken(self, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(builder, "manifest_bytes", fail)
        with pytest.raises(ChaosextError, match="No space left on device") as caught:
            build_bundle("tools", QUIET)
        assert str(cache) in caught.value.fix
        with pytest.raises(Refused):
            newest_bundle(full=False)


@pytest.mark.usefixtures("tools")
class TestCommand:
    def run(self, *words: str) -> int:
        return invoke(list(words), command.images, name="python -m hack.images")

    def test_build_prints_the_path(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert self.run("build", "--profile", "tools") == 0
        assert capsys.readouterr().out == f"{newest_bundle(full=False).path}\n"

    def test_build_copies_to_output(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        output = tmp_path / "tools.tar"
        assert self.run("build", "--profile", "tools", "--output", str(output)) == 0
        assert capsys.readouterr().out == f"{output}\n"
        assert open_bundle(output, QUIET).manifest.profile == "tools"

    @pytest.mark.parametrize(("answers", "built"), [(True, "tools"), (False, "full")])
    def test_auto_builds_what_the_registry_does_not_have(
        self, monkeypatch: pytest.MonkeyPatch, answers: bool, built: str, tmp_path: Path
    ) -> None:
        asked: list[str] = []
        monkeypatch.setattr(command, "require_engine", lambda: None)
        monkeypatch.setattr(command, "registry_answers", lambda _: answers)
        monkeypatch.setattr(
            command,
            "build_bundle",
            lambda profile, _, kubernetes: asked.append(f"{profile} {kubernetes}") or tmp_path,
        )
        assert self.run("build", "--profile", "auto", "--kubernetes", "1.33") == 0
        assert asked == [f"{built} v1.33.13"]

    def test_build_of_an_unknown_version_is_refused(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert self.run("build", "--kubernetes", "1.12") == 20
        assert "--kubernetes" in capsys.readouterr().err

    def test_auto_takes_a_bundle_that_is_there_when_none_can_be_built(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = build_bundle("tools", QUIET)

        def refuse(*_: object, **__: object) -> None:
            raise Refused("building needs root", "be root")

        monkeypatch.setattr(command, "require_engine", lambda: None)
        monkeypatch.setattr(command, "registry_answers", lambda _: True)
        monkeypatch.setattr(command, "build_bundle", refuse)
        assert self.run("build", "--profile", "auto") == 0
        assert capsys.readouterr().out == f"{path}\n"
        monkeypatch.setattr(command, "registry_answers", lambda _: False)
        assert self.run("build", "--profile", "auto") == 20
        assert "building needs root" in capsys.readouterr().err

    def test_auto_is_refused_when_no_engine_answers(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(command, "build_bundle", pytest.fail)
        monkeypatch.delenv("DOCKER_HOST", raising=False)
        assert self.run("build", "--profile", "auto") == 20
        assert "Docker Engine is missing" in capsys.readouterr().err

    def test_output_is_refused_before_anything_is_built(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setattr(command, "build_bundle", pytest.fail)
        assert self.run("build", "--output", str(tmp_path)) == 20

    def test_unknown_profile_is_refused(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert self.run("build", "--profile", "half") == 20
        assert "half" in capsys.readouterr().err

    def test_list_says_what_is_there_and_whether_it_fits(
        self, cache: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = build_bundle("tools", QUIET)
        put(cache / "bundle-full-broken/manifest.json", "{")
        assert self.run("list") == 0
        lines = capsys.readouterr().out.splitlines()
        fitting = next(line for line in lines if str(path) in line)
        assert "tools" in fitting
        assert fitting.endswith("fits")
        assert any("bundle-full-broken" in line and "unreadable" in line for line in lines)

    def test_list_is_empty_when_there_is_none(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert self.run("list") == 0
        assert capsys.readouterr().out == ""
