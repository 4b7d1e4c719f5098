"""On the testbed: incidents that are caused by hand, without a run, and named by `chaosext diagnose`.

No rule on a node is chaosext's: the cut is a table of this test.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from .conftest import CONTEXT, NAME, docker, kubectl

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CONTROL_PLANE, WORKERS = f"{NAME}-control-plane", (f"{NAME}-worker", f"{NAME}-worker2")

CUT_S = 110
"""Long enough for kube-dns to be evicted and re-created (20 s grace, 20 s tolerations)."""

STUCK_S, BACK_S, LONGEST_S = 240, 240, 60
"""Seconds until the incident shows, until the cluster is well after the fix, and that one diagnosis may take."""

TABLE = "diagnose_by_hand"


def diagnosis(*words: str) -> dict[str, Any]:
    began_s = time.monotonic()
    argv = [sys.executable, "-m", "chaosext", "diagnose", "--context", CONTEXT, "--json", *words]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=3 * LONGEST_S, check=False)
    assert time.monotonic() - began_s < LONGEST_S
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["exit_code"] == done.returncode
    return found


def until(holds: Callable[[dict[str, Any]], bool], within_s: float) -> dict[str, Any]:
    end_s = time.monotonic() + within_s
    while True:
        found = diagnosis()
        if holds(found) or time.monotonic() > end_s:
            return found


def is_well(found: dict[str, Any]) -> bool:
    return bool(found["exit_code"] == 0)


def rules_of(found: dict[str, Any]) -> list[str]:
    return [each["rule"] for each in found["root_causes"]]


def addresses(node: str, family: str) -> str:
    return docker(
        "inspect", "-f", f"{{{{range .NetworkSettings.Networks}}}}{{{{.{family}}}}}{{{{end}}}}", node
    ).strip()


def cut() -> None:
    """Drop whatever goes between the control-plane node and the workers."""
    rules = []
    for node in WORKERS:
        for word, family in (("ip", "IPAddress"), ("ip6", "GlobalIPv6Address")):
            if address := addresses(node, family):
                rules.append(f"add rule inet {TABLE} on_input {word} saddr {address} drop")
                rules.append(f"add rule inet {TABLE} on_output {word} daddr {address} drop")
    chains = [
        f"add chain inet {TABLE} {hook} {{ type filter hook {hook} priority -350; }}"
        for hook in ("input", "output")
    ]
    text = "\n".join([f"add table inet {TABLE}", *chains, *rules, ""])
    subprocess.run(
        ["docker", "exec", "-i", CONTROL_PLANE, "nft", "-f", "-"],
        input=text,
        text=True,
        check=True,
        timeout=30,
    )


def heal() -> None:
    docker("exec", CONTROL_PLANE, "nft", f"add table inet {TABLE}; delete table inet {TABLE}")


@pytest.fixture
def well() -> Iterator[None]:
    """The cluster is well before and after the test."""
    assert until(is_well, BACK_S)["exit_code"] == 0
    yield
    heal()
    kubectl("-n", "kube-system", "delete", "pod", "-l", "k8s-app=kube-dns", timeout_s=120)
    assert until(is_well, BACK_S)["exit_code"] == 0


def test_diagnose_names_the_incident_that_was_caused_by_hand_and_the_fix_that_ends_it(well: None) -> None:
    cut()
    time.sleep(45)
    during = diagnosis()
    assert rules_of(during) == ["nodes_cut_off"], during["unexplained"]
    assert TABLE in json.dumps(during["root_causes"][0]["evidence"])
    time.sleep(CUT_S - 45)
    heal()
    after = until(lambda found: rules_of(found) == ["kube_dns_unreachable"], STUCK_S)
    root = after["root_causes"][0]
    assert root["rule"] == "kube_dns_unreachable"
    assert CONTROL_PLANE in root["said"]
    assert after["exit_code"] == 10, after["unexplained"]
    for command in root["fixes"][0]["command"].splitlines():
        subprocess.run(command.split(), check=True, timeout=120)
    assert until(is_well, BACK_S)["exit_code"] == 0


def test_diagnose_works_from_nodes_while_the_api_server_is_out_of_reach(well: None) -> None:
    cut()
    docker("exec", CONTROL_PLANE, "nft", f"add rule inet {TABLE} on_input iifname eth0 tcp dport 6443 drop")
    time.sleep(10)
    found = diagnosis()
    assert rules_of(found) == ["nodes_cut_off"], found["unexplained"]
    assert any("API server" in each for each in found["not_seen"])
