"""Where `testbed up` takes its images from, and what it refuses before anything is touched."""

from __future__ import annotations

import io
import shutil
from typing import TYPE_CHECKING, Any

import pytest
from bed_images import IMAGES
from bundles import manifest, write

from chaosext.cli.main import invoke
from chaosext.model.errors import ChaosextError, Refused
from chaosext.testbed import bringup, containers
from chaosext.testbed.bed_choices import PodNetwork
from chaosext.testbed.bringup import ensure_images
from chaosext.testbed.stage_progress import Progress

if TYPE_CHECKING:
    from pathlib import Path

    from chaosext.testbed.bundle import Bundle
    from chaosext.testbed.node_images import ImageSet


class Sources:
    """Stand-ins for a registry and for the loading of a bundle; they note what they were asked for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answers = False
        self.asked: list[tuple[str, Any]] = []
        self.progress = io.StringIO()
        monkeypatch.setattr(bringup, "registry_answers", self.registry_answers)
        monkeypatch.setattr(bringup, "pull_images", self.pull)
        monkeypatch.setattr(bringup, "load_bundle", self.load)
        monkeypatch.setattr(bringup, "require_engine", lambda: None)

    def registry_answers(self, _: str | None) -> bool:
        return self.answers

    def pull(
        self, tools: Bundle, _: Progress, *, registry: str | None, kubernetes: str, network: PodNetwork
    ) -> ImageSet:
        assert network is PodNetwork.CALICO_BGP
        self.asked.append(("pull", (tools.path, registry)))
        self.kubernetes = kubernetes
        return IMAGES

    def load(self, bundle: Bundle, _: Progress) -> ImageSet:
        self.asked.append(("load", bundle.path))
        return IMAGES

    def ensure(
        self, images: str, registry: str | None = None, kubernetes: str | None = None
    ) -> tuple[str, Any]:
        ensure_images(images, Progress(self.progress), registry=registry, kubernetes=kubernetes)
        (only,) = self.asked
        return only


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "cache/chaosext").mkdir(parents=True)
    return tmp_path / "cache/chaosext"


def of_version(version: str) -> dict[str, Any]:
    said = manifest()
    return {**said, "versions": {**said["versions"], "kubernetes": version}}


@pytest.fixture
def sources(monkeypatch: pytest.MonkeyPatch, cache: Path) -> Sources:
    return Sources(monkeypatch)


class TestChoice:
    def test_auto_pulls_when_the_registry_answers(self, sources: Sources, cache: Path) -> None:
        sources.answers = True
        tools = write(cache / "bundle-tools-1", manifest("tools"))
        assert sources.ensure("auto", "mirror:5000") == ("pull", (tools, "mirror:5000"))

    def test_auto_takes_tools_of_a_full_bundle_when_there_is_no_other(
        self, sources: Sources, cache: Path
    ) -> None:
        sources.answers = True
        full = write(cache / "bundle-full-1")
        assert sources.ensure("auto") == ("pull", (full, None))

    def test_auto_loads_the_kept_bundle_when_no_registry_answers(self, sources: Sources, cache: Path) -> None:
        kept = write(cache / "bundle-full-1")
        assert sources.ensure("auto") == ("load", kept)
        assert str(kept) in sources.progress.getvalue()

    def test_auto_is_refused_when_there_is_neither(self, sources: Sources, cache: Path) -> None:
        write(cache / "bundle-tools-1", manifest("tools"))
        with pytest.raises(Refused, match="no image registry answers") as caught:
            sources.ensure("auto")
        assert "make images" in caught.value.fix
        assert "--images PATH" in caught.value.fix
        assert sources.asked == []

    def test_auto_is_refused_when_the_kept_bundle_is_damaged(self, sources: Sources, cache: Path) -> None:
        (write(cache / "bundle-full-1") / "bin/kind").write_text("bin/kinx")
        with pytest.raises(Refused, match="bin/kind is damaged"):
            sources.ensure("auto")
        assert sources.asked == []

    def test_auto_loads_the_kept_bundle_of_the_version_that_is_asked_for(
        self, sources: Sources, cache: Path
    ) -> None:
        older = write(cache / "bundle-full-1", of_version("v1.33.13"))
        write(cache / "bundle-full-2")
        assert sources.ensure("auto", kubernetes="1.33") == ("load", older)

    def test_auto_loads_no_bundle_of_another_version_when_none_is_asked_for(
        self, sources: Sources, cache: Path
    ) -> None:
        write(cache / "bundle-full-1", of_version("v1.33.13"))
        with pytest.raises(Refused, match=r"kubernetes v1\.33\.13 instead of 1\.34"):
            sources.ensure("auto")

    def test_refusal_says_how_to_build_the_version_that_is_asked_for(
        self, sources: Sources, cache: Path
    ) -> None:
        write(cache / "bundle-full-1")
        with pytest.raises(Refused, match=r"Kubernetes v1\.33\.6") as caught:
            sources.ensure("auto", kubernetes="v1.33.6")
        assert "make images KUBERNETES=v1.33.6" in caught.value.fix

    @pytest.mark.parametrize(("asked", "pulled"), [(None, "1.34"), ("1.37", "1.37")])
    def test_registry_is_asked_for_the_version(
        self, sources: Sources, cache: Path, asked: str | None, pulled: str
    ) -> None:
        write(cache / "bundle-tools-1", manifest("tools"))
        sources.ensure("registry", kubernetes=asked)
        assert sources.kubernetes == pulled

    def test_path_of_a_full_bundle_decides_the_version_unless_one_is_asked_for(
        self, sources: Sources, tmp_path: Path
    ) -> None:
        path = write(tmp_path / "mine", of_version("v1.33.13"))
        assert sources.ensure(str(path)) == ("load", path)
        with pytest.raises(Refused, match=r"kubernetes v1\.33\.13 instead of 1\.35"):
            sources.ensure(str(path), kubernetes="1.35")

    @pytest.mark.parametrize("asked", ["1.29", "1.99", "1.33.x", "latest", ""])
    def test_version_is_refused_that_the_testbed_does_not_run(self, sources: Sources, asked: str) -> None:
        with pytest.raises(Refused, match="--kubernetes") as caught:
            sources.ensure("auto", kubernetes=asked)
        assert "1.34" in caught.value.fix
        assert sources.asked == []

    def test_registry_is_pulled_from_whether_it_answers_or_not(self, sources: Sources, cache: Path) -> None:
        tools = write(cache / "bundle-tools-1", manifest("tools"))
        assert sources.ensure("registry") == ("pull", (tools, None))

    def test_registry_is_refused_when_there_are_no_tools(self, sources: Sources) -> None:
        with pytest.raises(Refused, match="kind, Helm, manifests and charts are not in a registry") as caught:
            sources.ensure("registry")
        assert "make images" in caught.value.fix

    def test_path_of_a_full_bundle_is_loaded(self, sources: Sources, tmp_path: Path) -> None:
        sources.answers = True
        path = write(tmp_path / "mine")
        assert sources.ensure(str(path)) == ("load", path)

    def test_path_of_a_tools_bundle_goes_with_the_registry(self, sources: Sources, tmp_path: Path) -> None:
        path = write(tmp_path / "mine", manifest("tools"))
        assert sources.ensure(str(path), "mirror:5000") == ("pull", (path, "mirror:5000"))

    def test_path_of_a_tar_is_unpacked_and_loaded(
        self, sources: Sources, cache: Path, tmp_path: Path
    ) -> None:
        packed = shutil.make_archive(str(tmp_path / "mine"), "tar", write(tmp_path / "mine"))
        asked, path = sources.ensure(packed)
        assert (asked, path.parent) == ("load", cache)
        assert (path / "bin/kind").read_text() == "bin/kind"

    def test_path_may_have_the_name_of_a_choice(
        self, sources: Sources, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        path = write(tmp_path / "registry")
        assert sources.ensure("./registry") == ("load", path)

    def test_path_is_loaded_rather_than_the_kept_bundle(
        self, sources: Sources, cache: Path, tmp_path: Path
    ) -> None:
        write(cache / "bundle-full-1")
        path = write(tmp_path / "mine")
        assert sources.ensure(str(path)) == ("load", path)

    def test_cache_is_named_when_it_cannot_be_written(
        self, sources: Sources, cache: Path, tmp_path: Path
    ) -> None:
        cache.rmdir()
        cache.write_text("not a directory")
        with pytest.raises(ChaosextError, match=str(cache)) as caught:
            sources.ensure(str(write(tmp_path / "mine")))
        assert "space and permissions" in caught.value.fix
        assert sources.asked == []

    def test_path_may_begin_at_home(
        self, sources: Sources, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HOME", str(tmp_path))
        path = write(tmp_path / "mine")
        assert sources.ensure("~/mine") == ("load", path)

    def test_mirror_is_refused_beside_a_full_bundle(self, sources: Sources, tmp_path: Path) -> None:
        with pytest.raises(Refused, match="--registry"):
            sources.ensure(str(write(tmp_path / "mine")), "mirror:5000")


class TestCommand:
    """`chaosext testbed up` on a machine without Docker, and without the testbed that may be up on this one."""

    @pytest.fixture(autouse=True)
    def _machine(self, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "bin").mkdir()
        monkeypatch.setenv("PATH", str(tmp_path / "bin"))
        monkeypatch.delenv("DOCKER_HOST", raising=False)
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
        monkeypatch.chdir(tmp_path)

    @pytest.mark.parametrize("word", ["cloud", "source", "AUTO", "", "bundle.tar"])
    def test_up_refuses_images_that_are_not_there(
        self, word: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert invoke(["testbed", "up", "--images", word]) == 20
        said = capsys.readouterr().err
        assert "image bundle" in said
        assert "fix:" in said

    def test_up_refuses_a_damaged_bundle_by_its_file(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (write(tmp_path / "mine") / "calico/calico.yaml").write_text("calico/calico.yams")
        assert invoke(["testbed", "up", "--images", "mine"]) == 20
        assert "calico/calico.yaml" in capsys.readouterr().err

    @pytest.mark.parametrize(
        "words", [["auto"], ["registry"], ["mine"], ["full", "--registry", "mirror:5000"]]
    )
    def test_up_changes_nothing_in_the_engine_when_it_refuses(
        self, words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (write(tmp_path / "mine") / "bin/helm").unlink()
        write(tmp_path / "full")
        docker = tmp_path / "bin/docker"
        docker.write_text(f'#!/bin/sh\necho "$1" >> {tmp_path}/asked\n[ "$1" = version ] && echo 20.10.24\n')
        docker.chmod(0o755)
        assert invoke(["testbed", "up", "--images", *words]) == 20
        assert "fix:" in capsys.readouterr().err
        asked = tmp_path / "asked"
        assert set(asked.read_text().split() if asked.exists() else ()) <= {"version", "info", "ps"}

    def test_up_says_how_to_get_an_engine(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert invoke(["testbed", "up"]) == 20
        said = capsys.readouterr().err
        assert "Docker Engine is missing" in said
        assert "apt-get install docker.io" in said
        assert "make engine" in said


class TestEngine:
    @pytest.fixture(autouse=True)
    def docker(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """The `docker` command, all of PATH."""
        (tmp_path / "bin").mkdir()
        monkeypatch.setenv("PATH", str(tmp_path / "bin"))
        monkeypatch.delenv("DOCKER_HOST", raising=False)
        return tmp_path / "bin/docker"

    def says(self, docker: Path, script: str) -> None:
        docker.write_text(f"#!/bin/sh\n{script}\n")
        docker.chmod(0o755)

    def test_engine_is_accepted_when_it_answers(self, docker: Path) -> None:
        self.says(docker, "echo 20.10.24")
        containers.require_engine()

    @pytest.mark.parametrize("script", ["exit 1", "echo ''"])
    def test_engine_is_refused_when_only_the_client_is_there(self, docker: Path, script: str) -> None:
        self.says(docker, script)
        with pytest.raises(Refused, match="Docker Engine is missing"):
            containers.require_engine()

    def test_engine_is_refused_when_installed_and_silent(self, docker: Path) -> None:
        self.says(docker, "exit 1")
        docker.with_name("dockerd").symlink_to(docker)
        with pytest.raises(Refused, match="installed, but does not answer"):
            containers.require_engine()

    def test_engine_is_refused_when_the_user_may_not_use_it(self, docker: Path) -> None:
        self.says(docker, "echo 'permission denied while trying to connect' >&2; exit 1")
        with pytest.raises(Refused, match="no access to") as caught:
            containers.require_engine()
        assert "group" in caught.value.fix

    def test_engine_is_refused_when_docker_host_names_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DOCKER_HOST", "tcp://10.0.0.1:2375")
        with pytest.raises(Refused, match=r"10\.0\.0\.1"):
            containers.require_engine()
