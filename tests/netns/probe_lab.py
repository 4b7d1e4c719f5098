"""A node and a server in network namespaces of their own, for what the probes' scripts say on a real kernel.

The server has five addresses: .2 and fd99::2 serve, .3 is there and serves nothing, .4 drops everything (nft), .5 has
nobody, and .6 accepts and resets. 198.51.100.1 has no route.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

SERVES, CLOSED, DROPS, NOBODY, RESETS = (f"10.99.0.{last}" for last in range(2, 7))
SERVES_V6, NO_ROUTE = "fd99::2", "198.51.100.1"
SERVERS = Path(__file__).with_name("probe_servers.py")

needs_namespaces = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("ip") is None or shutil.which("nft") is None,
    reason="needs root, iproute2 and nftables",
)


@dataclass(frozen=True, slots=True)
class Lab:
    node: str
    server: str


def _run(*argv: str, stdin: str = "") -> None:
    subprocess.run(argv, input=stdin, text=True, check=True, timeout=10)


@contextmanager
def lab() -> Iterator[Lab]:
    """Both namespaces, wired and serving; gone when the context is left."""
    tag = f"{os.getpid() % 100000}"
    here = Lab(node=f"cxprobe-n{tag}", server=f"cxprobe-s{tag}")
    servers: subprocess.Popen[str] | None = None
    try:
        _wire(here, tag)
        servers = _serve(here)
        yield here
    finally:
        if servers:
            servers.kill()
            servers.communicate()
        for name in (here.node, here.server):
            subprocess.run(["ip", "netns", "del", name], check=False, timeout=10, stderr=subprocess.DEVNULL)


def _wire(here: Lab, tag: str) -> None:
    _run("ip", "netns", "add", here.node)
    _run("ip", "netns", "add", here.server)
    ends = (("n", here.node, [1], "fd99::1"), ("s", here.server, [2, 3, 4, 6], "fd99::2"))
    _run("ip", "link", "add", f"cxn{tag}", "netns", here.node, "type", "veth",
         "peer", "name", f"cxs{tag}", "netns", here.server)  # fmt: skip
    for side, namespace, lasts, v6 in ends:
        link = f"cx{side}{tag}"
        for last in lasts:
            _run("ip", "-n", namespace, "addr", "add", f"10.99.0.{last}/24", "dev", link)
        _run("ip", "-n", namespace, "addr", "add", f"{v6}/64", "dev", link, "nodad")
        _run("ip", "-n", namespace, "link", "set", link, "up")
        _run("ip", "-n", namespace, "link", "set", "lo", "up")
    rules = f"table inet lab {{ chain i {{ type filter hook input priority 0; ip daddr {DROPS} drop; }}; }}"
    _run("ip", "netns", "exec", here.server, "nft", "-f", "-", stdin=rules)


def _serve(here: Lab) -> subprocess.Popen[str]:
    servers = subprocess.Popen(
        ["ip", "netns", "exec", here.server, sys.executable, str(SERVERS), SERVES, SERVES_V6, RESETS],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert servers.stdout is not None
    assert servers.stdout.readline().strip() == "serving"
    _wait_for_ipv6(here)
    return servers


def _wait_for_ipv6(here: Lab) -> None:
    """Link-local addresses take a second or two to be usable; neighbours aren't found before."""
    connect = f"exec 3<>/dev/tcp/{SERVES_V6}/53"
    for _ in range(20):
        argv = ["ip", "netns", "exec", here.node, "timeout", "0.5", "bash", "-c", connect]
        if subprocess.run(argv, check=False, timeout=10).returncode == 0:
            return
        time.sleep(0.1)
    raise AssertionError("the lab's IPv6 does not work")
