"""Which interfaces are a node's uplinks, and what its addresses are."""

from __future__ import annotations

import json
import socket
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from chaosext.model.errors import Refused, Unreachable
from chaosext.nodes.node_network import (
    KUBELET_CONF,
    SCRIPT,
    NodeNetwork,
    api_servers,
    is_up,
    node_network,
    read_addresses,
    read_network,
    read_networks,
)
from chaosext.nodes.shell import ShellResult

if TYPE_CHECKING:
    from pathlib import Path

# `ip -json address show` on a kind node, shortened.
LINKS: list[dict[str, Any]] = [
    {"ifname": "lo", "addr_info": [{"family": "inet", "local": "127.0.0.1", "scope": "host"}]},
    {
        "ifname": "cali0",
        "addr_info": [{"family": "inet6", "local": "fe80::ecee:eeff:feee:eeee", "scope": "link"}],
    },
    {
        "ifname": "eth0",
        "addr_info": [
            {"family": "inet", "local": "172.18.0.3", "scope": "global"},
            {"family": "inet6", "local": "fc00:f853:ccd:e793::3", "scope": "global"},
            {"family": "inet6", "local": "fe80::42:acff:fe12:3", "scope": "link"},
        ],
    },
    {"ifname": "eth1", "addr_info": [{"family": "inet", "local": "192.168.9.3", "scope": "global"}]},
    {"ifname": "wg0"},
]


def test_the_uplink_carries_the_internal_ip() -> None:
    network = node_network("worker", ["172.18.0.3"], LINKS)
    assert network == NodeNetwork(
        node="worker",
        uplinks=("eth0",),
        addresses=("172.18.0.3", "fc00:f853:ccd:e793::3"),
        own=frozenset(info["local"] for link in LINKS for info in link.get("addr_info", ())),
    )
    assert (network.address(4), network.address(6)) == ("172.18.0.3", "fc00:f853:ccd:e793::3")


def test_addresses_are_compared_not_their_spelling() -> None:
    assert node_network("worker", ["FC00:F853:0CCD:E793:0::3"], LINKS).uplinks == ("eth0",)


def test_a_node_with_two_networks_has_two_uplinks() -> None:
    network = node_network("worker", ["172.18.0.3", "192.168.9.3"], LINKS)
    assert network.uplinks == ("eth0", "eth1")
    assert network.address(6) == "fc00:f853:ccd:e793::3"


@pytest.mark.parametrize("internal_ips", [["172.18.0.99"], []])
def test_no_interface_is_guessed(internal_ips: list[str]) -> None:
    with pytest.raises(Refused, match="uplinks: no interface of worker"):
        node_network("worker", internal_ips, LINKS)


@dataclass
class Shell:
    node: str
    stdout: str
    stderr: str = ""

    def run(self, script: str, *, stdin: str = "", timeout_s: float) -> ShellResult:
        assert script == SCRIPT
        assert timeout_s > 0
        return ShellResult(0, self.stdout, self.stderr)


def test_every_node_is_asked() -> None:
    shells: Any = {name: Shell(name, json.dumps(LINKS)) for name in ("a", "b")}
    networks = read_networks(shells, {"a": ["172.18.0.3"], "b": ["192.168.9.3"]})
    assert {name: network.uplinks for name, network in networks.items()} == {"a": ("eth0",), "b": ("eth1",)}


@pytest.mark.parametrize(
    ("said", "known"),
    [
        ("https://172.18.0.9:6443\n172.18.0.9\n", (("172.18.0.9", 6443),)),
        ("https://lb:8443\nFC00::0:9\n172.18.0.9\n", (("fc00::9", 8443), ("172.18.0.9", 8443))),
        ("https://lb\n172.18.0.9\n", (("172.18.0.9", 443),)),
        ("https://lb:6443\n", ()),
        ("\n", ()),
        ("", ()),
        ("https://lb:port\n172.18.0.9\n", ()),
    ],
)
def test_where_a_kubelet_connects(said: str, known: tuple[tuple[str, int], ...]) -> None:
    assert api_servers(said) == known
    network = read_network(Shell("a", f"{json.dumps(LINKS)}\n--\n{said}"), ["172.18.0.3"])  # type: ignore[arg-type]
    assert (network.uplinks, network.api_servers) == (("eth0",), known)


@pytest.mark.parametrize(
    ("server", "said"),
    [
        ("https://127.0.0.1:6443", "https://127.0.0.1:6443\n127.0.0.1\n"),
        ('"https://[::1]:6443/"', "https://[::1]:6443/\n::1\n"),
        ("https://no-such-host.invalid:6443", "https://no-such-host.invalid:6443\n"),
    ],
)
def test_the_script_reads_what_kubeadm_writes(server: str, said: str, tmp_path: Path) -> None:
    conf = tmp_path / "kubelet.conf"
    conf.write_text(f"clusters:\n- cluster:\n    server: {server}\n  name: default-cluster\n")
    assert run_script(conf).endswith(f"\n--\n{said}")


def test_without_a_kubeconfig_nothing_is_known(tmp_path: Path) -> None:
    assert run_script(tmp_path / "absent").endswith("\n--\n\n")


def run_script(conf: Path, ports: str = "\n") -> str:
    script = SCRIPT.replace(KUBELET_CONF, str(conf))
    done = subprocess.run(["bash", "-c", script], input=ports, capture_output=True, text=True, timeout=20)
    return done.stdout


def test_nonsense_is_no_answer() -> None:
    shell: Any = Shell("a", "", "bash: ip: command not found\n")
    with pytest.raises(Unreachable, match=r"gave no JSON \(bash: ip: command not found\)"):
        read_network(shell, ["172.18.0.3"])


@pytest.mark.parametrize(
    ("said", "known"),
    [
        (
            "sockets\n172.18.0.2:6443\n[::ffff:172.18.0.2]:6443\n[fc00::2]:6443\n",
            (("172.18.0.2", 6443), ("fc00::2", 6443)),
        ),
        ("sockets\n", ()),
        ("sockets\nno-address:6443\n", ()),
        ("sockets\n127.0.0.1:6443\n", (("127.0.0.1", 6443),)),
    ],
)
def test_where_a_nodes_connections_lead_stands_in_for_a_file_that_can_not_be_seen(
    said: str, known: tuple[tuple[str, int], ...]
) -> None:
    assert api_servers(said) == known


def test_the_script_finds_the_connections_that_are_up(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert run_script(tmp_path / "none", f"{port}\n").endswith("\n--\n\nsockets\n")
        with socket.create_connection(("127.0.0.1", port)), server.accept()[0]:
            said = run_script(tmp_path / "none", f"{port}\n")
    assert said.endswith(f"\n--\n\nsockets\n127.0.0.1:{port}\n")


ROUTES = [
    {"dst": "default", "gateway": "172.18.0.1", "dev": "eth0"},
    {
        "dst": "10.244.0.0/16",
        "nexthops": [{"gateway": "172.18.0.7"}, {"via": {"family": "inet6", "host": "FC00::0:8"}}],
    },
    {"dst": "172.18.0.0/16", "dev": "eth0", "scope": "link"},
    {"dst": "192.0.2.0/24", "via": {"family": "inet6", "host": "fe80::1"}},
]


def whole(routes: str, etcd: str = "") -> str:
    return f"{json.dumps(LINKS)}\n--routes\n{routes}\n--etcd\n{etcd}\n--\n\n"


def test_next_hops_of_both_families_and_connections_to_etcd_are_read() -> None:
    text = whole(f"{json.dumps(ROUTES)}\n[]", "172.18.0.5:2379\n[::ffff:172.18.0.6]:2380\n")
    network = read_network(Shell("a", text), ["172.18.0.3"])  # type: ignore[arg-type]
    assert network.gateways == {"172.18.0.1", "172.18.0.7", "fc00::8", "fe80::1"}
    assert network.etcd == {"172.18.0.5", "172.18.0.6"}
    assert (network.uplinks, network.api_servers) == (("eth0",), ())


@pytest.mark.parametrize(
    "routes", ["Error: no such table", '[{"gateway": "no address"}]', '[{"gateway": 7.5}]', "[7]"]
)
def test_routes_that_can_not_be_understood_are_no_answer(routes: str) -> None:
    with pytest.raises(Unreachable):
        read_network(Shell("a", whole(routes)), ["172.18.0.3"])  # type: ignore[arg-type]


def test_the_script_asks_for_routes_and_for_connections_to_etcd(tmp_path: Path) -> None:
    listed, _, rest = run_script(tmp_path / "none").partition("\n--routes\n")
    routes, _, rest = rest.partition("\n--etcd\n")
    assert isinstance(json.loads(listed), list)
    assert all(isinstance(json.loads(line), list) for line in routes.splitlines() if line)
    assert f"\n{rest}".endswith("\n--\n\n")


@dataclass
class Lister:
    node: str
    stdout: str | Exception

    def run(self, script: str, *, stdin: str = "", timeout_s: float) -> ShellResult:
        assert script == "exec ip -json address show"
        if isinstance(self.stdout, Exception):
            raise self.stdout
        return ShellResult(0, self.stdout, "")


def test_addresses_are_those_of_all_interfaces_and_who_does_not_say_is_left_out() -> None:
    shells: Any = {
        "a": Lister("a", json.dumps(LINKS)),
        "b": Lister("b", Unreachable("hung")),
        "c": Lister("c", "Error"),
        "d": Lister("d", "[7]"),
    }
    assert read_addresses(shells) == {"a": frozenset({"172.18.0.3", "fc00:f853:ccd:e793::3", "192.168.9.3"})}
    assert read_addresses({}) == {}


@pytest.mark.parametrize(
    ("flags", "up"),
    [
        (["BROADCAST", "UP", "LOWER_UP"], True),
        (["UP"], False),
        (["NO-CARRIER", "LOWER_UP"], False),
        ([], False),
    ],
)
def test_an_interface_is_up_with_a_carrier(flags: list[str], up: bool) -> None:
    assert is_up("eth0", [{"ifname": "lo"}, {"ifname": "eth0", "flags": flags}]) is up
    assert not is_up("eth1", [{"ifname": "eth0", "flags": flags}])
