"""What is asked of Go, Debian and a registry, as data; nothing is built or downloaded here."""

from __future__ import annotations

import http.server
import os
import socket
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from chaosext.model.errors import Refused
from chaosext.testbed import images, versions
from chaosext.testbed.archive import Component, Entry
from chaosext.testbed.images import components, gobuild, golang, pulled, recipes, rootfs, sourced, trees
from chaosext.testbed.images.gobuild import GoBuild
from chaosext.testbed.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BUILD = GoBuild(
    name="tool",
    module=versions.GoModule(path="example.org/tool", version="v1.2.3"),
    commands={"example.org/tool/v2/cmd/tool": "tool"},
    replaces={"example.org/b": "example.org/b v0.1.0", "example.org/a": "example.org/c v0.2.0"},
    variables={"main.version": "v1.2.3"},
    tags=("one", "two"),
)


def _trickle(listener: socket.socket) -> None:
    client, _ = listener.accept()
    with client, suppress(OSError):
        while True:
            client.sendall(b"H")
            time.sleep(0.05)


class TestGoBuild:
    def test_go_mod_requires_and_replaces(self) -> None:
        assert BUILD.go_mod == (
            "module chaosext.local/tool\n\ngo 1.24.0\n\nrequire example.org/tool v1.2.3\n\n"
            "replace (\n\texample.org/a => example.org/c v0.2.0\n\texample.org/b => example.org/b v0.1.0\n)\n"
        )

    def test_flags_are_those_of_a_small_reproducible_binary(self) -> None:
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
    def test_name_that_go_build_chooses(self, package: str, name: str) -> None:
        assert gobuild._built_name(package) == name

    @pytest.mark.parametrize("name", ["pause", "shop"])
    def test_our_own_commands_need_no_module(self, name: str) -> None:
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
        assert recipes.kubernetes().replaces == {
            "k8s.io/api": f"k8s.io/api {versions.KUBERNETES_STAGING_VERSION}"
        }

    def test_full_disk_is_refused_before_go_starts(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        monkeypatch.setattr(gobuild, "NEEDED_GIB", 10**9)
        monkeypatch.setattr(gobuild, "find_go", pytest.fail)
        with pytest.raises(Refused, match="GiB free"):
            gobuild.ensure_go_commands(BUILD, Progress())


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
    def test_version(self, text: str, version: tuple[int, ...]) -> None:
        assert golang.parse_version(text) == version

    @pytest.fixture
    def path(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        monkeypatch.setattr(golang, "USUAL_PLACE", str(tmp_path / "none"))
        golang.find_go.cache_clear()
        yield tmp_path
        golang.find_go.cache_clear()

    def put_go(self, directory: Path, version: str) -> Path:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "go").write_text(f"#!/bin/sh\necho {version}\n")
        (directory / "go").chmod(0o755)
        return directory / "go"

    def test_new_enough_one_is_taken(self, path: Path) -> None:
        go = self.put_go(path, "go1.26.0")
        golang.ensure_go(Progress())
        assert golang.find_go() == str(go)

    def test_old_one_is_passed_by_for_a_fetched_one(self, path: Path) -> None:
        self.put_go(path, "go1.19.8")
        with pytest.raises(Refused, match="new enough"):
            golang.find_go()
        kept = self.put_go(
            path / "cache/chaosext" / f"go-{golang.key_of(golang.TOOLCHAIN)}" / "bin", "go1.26.8"
        )
        assert golang.find_go() == str(kept)

    @pytest.mark.usefixtures("path")
    def test_without_any_and_not_root_it_says_what_to_install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "geteuid", lambda: 1000)
        with pytest.raises(Refused) as caught:
            golang.ensure_go(Progress())
        assert "install Go 1.26" in caught.value.fix


class TestTrees:
    def test_source_images_are_refused_without_root(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        monkeypatch.setattr(os, "geteuid", lambda: 1000)
        with pytest.raises(Refused, match="needs root"):
            rootfs.ensure_rootfs(trees.tools_tree(), Progress())

    def test_trees_come_from_the_mirrors_that_apt_uses(self) -> None:
        listed = (
            "Somebody|main|http://tools.example/apt/\n"
            "Debian|contrib|http://other.example/debian/\n"
            "Debian|main|http://mirror.example/debian/\n"
            "Debian|main|http://second.example/debian/\n"
            "Debian-Security|main|http://mirror.example/security/\n"
        )
        assert rootfs.sources_at(listed) == (
            "deb http://mirror.example/debian bookworm main",
            "deb http://mirror.example/security bookworm-security main",
        )
        assert rootfs.sources_at("Ubuntu|main|http://mirror.example/ubuntu/\n") == ()

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
        assert rootfs.debian_sources() == ("deb http://mirror.example/debian bookworm main",)

    @pytest.mark.usefixtures("_forgotten_sources")
    def test_without_apt_the_mirror_is_left_to_mmdebstrap(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        assert rootfs.debian_sources() == ()

    @pytest.fixture
    def _forgotten_sources(self) -> Iterator[None]:
        rootfs.debian_sources.cache_clear()
        yield
        rootfs.debian_sources.cache_clear()

    def test_what_goes_in_decides_the_key(self) -> None:
        one = rootfs.RootFs(name="x", packages=("a",), setup="")
        assert one.inputs != rootfs.RootFs(name="x", packages=("a", "b"), setup="").inputs
        assert one.inputs != rootfs.RootFs(name="x", packages=("a",), setup="true").inputs


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

    def test_tag_follows_what_is_inside(self, tmp_path: Path) -> None:
        def tagged(binary: str) -> str:
            def make(tag: str) -> tuple[Component, Component]:
                entry = Entry(path="bin/x", source=tmp_path / binary)
                one = Component(names=(f"local/x:{tag}",), entries=(entry,))
                return one, one

            return sourced._tagged("v1", make)[0].names[0]

        assert tagged("a").startswith("local/x:v1-")
        assert tagged("a") == tagged("a") != tagged("b")

    def test_names_are_those_that_kubeadm_asks_for(self, tmp_path: Path) -> None:
        # `kubeadm config images list --kubernetes-version v1.34.4`
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


class TestRegistry:
    @pytest.fixture(params=[200, 401, 404, 500])
    def registry(self, request: pytest.FixtureRequest) -> Iterator[tuple[str, int]]:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(request.param if self.path == "/v2/" else 418)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_port}", request.param
        server.shutdown()
        thread.join()
        server.server_close()

    def test_registry_answers_with_yes_or_log_in_first(self, registry: tuple[str, int]) -> None:
        address, status = registry
        assert pulled.registry_answers(address) is (status in (200, 401))

    def test_nobody_there_is_no_answer(self) -> None:
        assert not pulled.registry_answers("127.0.0.1:1")

    def test_one_that_trickles_is_no_answer(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            threading.Thread(target=_trickle, args=(listener,), daemon=True).start()
            began_s = time.monotonic()
            assert not pulled._answers(f"http://127.0.0.1:{listener.getsockname()[1]}/v2/", 0.5)
            assert time.monotonic() - began_s < 2

    def test_docker_hub_is_where_the_engine_says(
        self, registry: tuple[str, int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        address, status = registry
        docker = tmp_path / "docker"
        docker.write_text(f"#!/bin/sh\necho http://127.0.0.1:1/v1/ http://{address}/\n")
        docker.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        assert pulled.hub_addresses() == ("http://127.0.0.1:1/v2/", f"http://{address}/v2/")
        assert pulled.registry_answers(None) is (status in (200, 401))

    def test_an_engine_that_says_nothing_knows_no_hub(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        assert not pulled.registry_answers(None)

    def test_a_mirror_is_asked_for_the_same_path_by_tag(self) -> None:
        assert pulled.NODE.source("host:5000") == f"host:5000/kindest/node:{versions.KINDEST_NODE_VERSION}"
        assert pulled.CALICO_NODE.source("host:5000") == "host:5000/calico/node:v3.28.5"

    def test_docker_hub_is_asked_by_digest_where_one_is_known(self) -> None:
        assert pulled.NODE.source(None) == f"{pulled.NODE.name}@{versions.KINDEST_NODE_DIGEST}"
        assert pulled.CALICO_NODE.source(None) == "docker.io/calico/node:v3.28.5"

    @pytest.mark.parametrize(
        ("mode", "answers", "chosen"),
        [
            ("auto", True, "registry"),
            ("auto", False, "source"),
            ("source", True, "source"),
            ("registry", False, "registry"),
        ],
    )
    def test_mode(
        self, monkeypatch: pytest.MonkeyPatch, mode: images.Mode, answers: bool, chosen: str
    ) -> None:
        called: list[str] = []
        monkeypatch.setattr(pulled, "registry_answers", lambda registry: answers)
        monkeypatch.setattr(pulled, "pull_images", lambda progress, registry: called.append("registry"))
        monkeypatch.setattr(sourced, "build_images", lambda progress: called.append("source"))
        images.ensure_images(mode, Progress())
        assert called == [chosen]
