"""What is asked of Go and Debian, as data; nothing is built or downloaded here."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from chaosext.model.errors import Refused
from chaosext.testbed import cache
from chaosext.testbed.archive import Component, LayerEntry
from chaosext.testbed.stage_progress import Progress
from hack.images import builder, components, debian, go, recipes
from hack.images.go import GoBuild, GoModule

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Of kubeadm's constants.go in Kubernetes 1.32.
CONSTANTS = """
const (
	// DefaultEtcdVersion indicates the default etcd version that kubeadm uses
	DefaultEtcdVersion = "3.5.16-0"
	// CoreDNSVersion is the version of CoreDNS to be deployed if it is used
	CoreDNSVersion = "v1.11.3"
	// PauseVersion indicates the default pause image version for kubeadm
	PauseVersion = "3.10"
)

var (
	SupportedEtcdVersion = map[uint8]string{
		31: "3.5.24-0",
		32: "3.5.24-0",
	}
)
"""

BUILD = GoBuild(
    name="tool",
    module=GoModule(path="example.org/tool", version="v1.2.3"),
    commands={"example.org/tool/v2/cmd/tool": "tool"},
    replaces={"example.org/b": "example.org/b v0.1.0", "example.org/a": "example.org/c v0.2.0"},
    variables={"main.version": "v1.2.3"},
    tags=("one", "two"),
)


class TestGoBuild:
    def test_go_mod_requires_and_replaces(self) -> None:
        assert BUILD.go_mod == (
            "module chaosext.local/tool\n\ngo 1.24.0\n\nrequire example.org/tool v1.2.3\n\n"
            "replace (\n\texample.org/a => example.org/c v0.2.0\n\texample.org/b => example.org/b v0.1.0\n)\n"
        )

    def test_flags_make_a_small_reproducible_binary(self) -> None:
        assert BUILD.flags == [
            "-mod=mod",
            "-trimpath",
            "-tags=one,two",
            "-ldflags",
            "-s -w -X main.version=v1.2.3",
        ]

    @pytest.mark.parametrize(
        ("package", "name"),
        [
            ("k8s.io/kubernetes/cmd/kubelet", "kubelet"),
            ("go.etcd.io/etcd/server/v3", "server"),
            ("example.org/v2", "example.org"),
        ],
    )
    def test_built_name_is_the_one_that_go_build_chooses(self, package: str, name: str) -> None:
        assert go._built_name(package) == name

    @pytest.mark.parametrize("name", ["pause", "shop", "customers"])
    def test_own_command_needs_no_module(self, name: str) -> None:
        build = recipes.own(name)
        assert "require" not in build.go_mod
        assert build.main.startswith("// Command " + name)

    def test_coredns_has_the_plugins_of_kubeadms_corefile(self) -> None:
        # kubeadm v1.34.4, cmd/kubeadm/app/phases/addons/dns/manifests.go
        of_corefile = {
            "errors", "health", "ready", "kubernetes", "prometheus", "forward", "cache", "loop", "reload",
            "loadbalance",
        }  # fmt: skip
        assert of_corefile <= {directive for directive, _ in recipes.COREDNS_PLUGINS}
        assert '"github.com/coredns/coredns/plugin/metrics"' in recipes.coredns().main

    def test_staging_modules_are_replaced_and_others_are_not(self, monkeypatch: pytest.MonkeyPatch) -> None:
        required = {"k8s.io/api": "v0.0.0", "k8s.io/klog/v2": "v2.130.1", "sigs.k8s.io/yaml": "v1.6.0"}
        monkeypatch.setattr(recipes, "module_requirements", lambda module: required)
        monkeypatch.setattr(recipes, "module_language", lambda module: "1.23.0")
        assert recipes.kubernetes("v1.33.13").replaces == {"k8s.io/api": "k8s.io/api v0.33.13"}

    @pytest.mark.parametrize(("own", "asked"), [("1.23.0", "1.24.0"), ("1.26.0", "1.26.0")])
    def test_language_is_at_least_that_of_kubernetes(
        self, monkeypatch: pytest.MonkeyPatch, own: str, asked: str
    ) -> None:
        monkeypatch.setattr(recipes, "module_requirements", lambda module: {})
        monkeypatch.setattr(recipes, "module_language", lambda module: own)
        made = recipes.kubernetes("v1.37.2")
        assert f"go {asked}\n" in made.go_mod
        assert made.variables["k8s.io/component-base/version.gitMinor"] == "37"

    def test_tags_are_what_kubeadms_source_asks_for(self) -> None:
        tags = recipes.tags_in(CONSTANTS, 32)
        assert tags == recipes.KubeadmTags(etcd="3.5.24-0", coredns="v1.11.3", pause="3.10")
        assert tags.etcd_version == "v3.5.24"

    def test_tag_of_etcd_is_the_default_for_a_version_that_kubeadm_does_not_list(self) -> None:
        assert recipes.tags_in(CONSTANTS, 33).etcd == "3.5.16-0"

    def test_constants_that_say_something_else_name_what_is_missing(self) -> None:
        with pytest.raises(ValueError, match="CoreDNSVersion"):
            recipes.tags_in(CONSTANTS.replace("CoreDNSVersion", "CoreDNSImageTag"), 32)

    def test_build_is_refused_before_go_starts_when_the_disk_is_full(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        monkeypatch.setattr(go, "NEEDED_GIB", 10**9)
        monkeypatch.setattr(go, "find_go", pytest.fail)
        with pytest.raises(Refused, match="GiB free"):
            go.ensure_go_commands(BUILD, Progress())


class TestGo:
    @pytest.mark.parametrize(
        ("text", "version"),
        [
            ("go1.26.8\n", (1, 26)),
            ("go1.27rc1", (1, 27)),
            ("go1.26-custom", (1, 26)),
            ("go1.9", (1, 9)),
            ("devel +abc", (0,)),
            ("", (0,)),
        ],
    )
    def test_version_is_parsed(self, text: str, version: tuple[int, ...]) -> None:
        assert go.parse_version(text) == version

    @pytest.fixture
    def path(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        monkeypatch.setattr(go, "USUAL_PLACE", str(tmp_path / "none"))
        go.find_go.cache_clear()
        yield tmp_path
        go.find_go.cache_clear()

    def put_go(self, directory: Path, version: str) -> Path:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "go").write_text(f"#!/bin/sh\necho {version}\n")
        (directory / "go").chmod(0o755)
        return directory / "go"

    def test_go_of_the_machine_is_taken_when_new_enough(self, path: Path) -> None:
        found = self.put_go(path, "go1.26.0")
        go.ensure_go(Progress())
        assert go.find_go() == str(found)

    def test_go_of_the_machine_is_passed_by_for_a_fetched_one_when_old(self, path: Path) -> None:
        self.put_go(path, "go1.19.8")
        with pytest.raises(Refused, match="new enough"):
            go.find_go()
        kept = self.put_go(path / "cache/chaosext" / f"go-{cache.key_of(go.TOOLCHAIN)}" / "bin", "go1.26.8")
        assert go.find_go() == str(kept)

    @pytest.mark.usefixtures("path")
    def test_go_refusal_names_what_to_install_when_not_root(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "geteuid", lambda: 1000)
        with pytest.raises(Refused) as caught:
            go.ensure_go(Progress())
        assert "install Go 1.26" in caught.value.fix


class TestTrees:
    def test_tree_is_refused_when_not_root(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        monkeypatch.setattr(os, "geteuid", lambda: 1000)
        with pytest.raises(Refused, match="needs root"):
            debian.ensure_rootfs(debian.tools_tree(), Progress())

    def test_trees_come_from_the_mirrors_that_apt_uses(self) -> None:
        listed = (
            "Somebody|main|http://tools.example/apt/\n"
            "Debian|contrib|http://other.example/debian/\n"
            "Debian|main|http://mirror.example/debian/\n"
            "Debian|main|http://second.example/debian/\n"
            "Debian-Security|main|http://mirror.example/security/\n"
        )
        assert debian.sources_at(listed) == (
            "deb http://mirror.example/debian bookworm main",
            "deb http://mirror.example/security bookworm-security main",
        )
        assert debian.sources_at("Ubuntu|main|http://mirror.example/ubuntu/\n") == ()

    @pytest.mark.usefixtures("_forgotten_sources")
    def test_apt_is_asked_after_an_update_when_it_has_no_lists(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        apt = tmp_path / "apt-get"
        apt.write_text(
            f'#!/bin/sh\ncase "$1" in update) : > {tmp_path}/lists ;; *) [ ! -e {tmp_path}/lists ] || '
            "echo 'Debian|main|http://mirror.example/debian/' ;; esac\n"
        )
        apt.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.setattr(os, "geteuid", lambda: 0)
        assert debian.debian_sources() == ("deb http://mirror.example/debian bookworm main",)

    @pytest.mark.usefixtures("_forgotten_sources")
    def test_mirror_is_left_to_mmdebstrap_when_there_is_no_apt(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        assert debian.debian_sources() == ()

    @pytest.fixture
    def _forgotten_sources(self) -> Iterator[None]:
        debian.debian_sources.cache_clear()
        yield
        debian.debian_sources.cache_clear()

    def test_tree_inputs_follow_packages_and_setup(self) -> None:
        one = debian.RootFs(name="x", packages=("a",), setup="")
        assert one.inputs != debian.RootFs(name="x", packages=("a", "b"), setup="").inputs
        assert one.inputs != debian.RootFs(name="x", packages=("a",), setup="true").inputs


class TestComponents:
    def test_templates_lose_the_tunnel_and_nothing_else(self) -> None:
        template = '  if ( net ~ 10.0.0.0/8 ) then {\n    krt_tunnel = "{{$data.ipip}}";  {{- /* x */}}\n    accept;\n'
        without = components.without_tunnels(template)
        assert "krt_tunnel" not in without
        assert without.replace(" ", "").splitlines() == [
            "if(net~10.0.0.0/8)then{",
            "{{-/*x*/}}",
            "accept;",
        ]

    def test_tag_follows_the_content(self, tmp_path: Path) -> None:
        def tagged(binary: str) -> str:
            def make(tag: str) -> tuple[Component, Component]:
                entry = LayerEntry(path="bin/x", source=tmp_path / binary)
                one = Component(names=(f"local/x:{tag}",), entries=(entry,))
                return one, one

            return builder.tagged("v1", make)[0].names[0]

        assert tagged("a").startswith("local/x:v1-")
        assert tagged("a") == tagged("a") != tagged("b")

    def test_names_are_those_that_kubeadm_asks_for(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # `kubeadm config images list --kubernetes-version v1.34.4`
        tags = recipes.KubeadmTags(etcd="3.6.5-0", coredns="v1.12.1", pause="3.10.1")
        monkeypatch.setattr(recipes, "kubeadm_tags", {"v1.34.4": tags}.__getitem__)
        made = components.kubernetes_components(
            kubernetes=tmp_path, etcd=tmp_path, coredns=tmp_path, pause=tmp_path, tools=tmp_path
        )
        names = {name for component in made for name in component.names}
        assert names >= {
            "registry.k8s.io/kube-apiserver:v1.34.4",
            "registry.k8s.io/kube-controller-manager:v1.34.4",
            "registry.k8s.io/kube-scheduler:v1.34.4",
            "registry.k8s.io/kube-proxy:v1.34.4",
            "registry.k8s.io/coredns/coredns:v1.12.1",
            "registry.k8s.io/pause:3.10.1",
            "registry.k8s.io/etcd:3.6.5-0",
        }
