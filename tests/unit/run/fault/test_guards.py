"""A runner that depends on an API server does not cut its own way there."""

from __future__ import annotations

import pytest

from chaosext.model.errors import Refused
from chaosext.partition.cut import Cut, NodeCut, peers_of
from chaosext.run.fault.guards import check_way

CUT = Cut(
    run="r1",
    owner="a@b",
    nodes=(NodeCut(node="cp", uplinks=("eth0",)),),
    peers=peers_of(["172.18.0.9", "fc00::9"], ["10.244.0.0/16"]),
    ttl_s=60,
)


@pytest.mark.parametrize(
    "server",
    ["https://172.18.0.9:6443", "https://[fc00::9]:6443", "https://10.244.3.4", "https://172.18.0.9/k8s/c-1"],
)
def test_a_server_that_the_cut_drops_is_refused(server: str) -> None:
    with pytest.raises(
        Refused, match=r"^peers: the cut drops .*, the API server that chaosext uses"
    ) as refused:
        check_way(CUT, server)
    assert "control-plane node" in refused.value.fix


@pytest.mark.parametrize(
    "server",
    [
        "https://172.18.0.2:6443",
        "https://127.0.0.1:34567",
        "https://no-such-host.invalid:6443",
        "https://[fc00::2]",
    ],
)
def test_any_other_server_is_a_way_through_the_cut(server: str) -> None:
    check_way(CUT, server)
