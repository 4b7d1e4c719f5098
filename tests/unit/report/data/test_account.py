"""Pods are new in every run: what they are called beyond it."""

from __future__ import annotations

import pytest

from chaosext.model.names import lasting
from chaosext.report.data.account import by_owner


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Pod/shop/cart-6c9f7d5b8-kx2vn", "Pod/shop/cart-*"),
        ("Pod/kube-system/coredns-66bc5c9577-vhhl4", "Pod/kube-system/coredns-*"),
        ("Pod/kube-system/calico-node-x7k2p", "Pod/kube-system/calico-node-*"),
        ("Pod/kube-system/kube-apiserver-control-plane", "Pod/kube-system/kube-apiserver-control-plane"),
        ("Pod/shop/db-0", "Pod/shop/db-0"),
        ("Node/chaosext-worker2", "Node/chaosext-worker2"),
        ("Node/a → coredns-66bc5c9577-vhhl4 on cp 10.244.6.0:53/udp", "Node/a → coredns-* on cp:53/udp"),
        ("Node/a → coredns-66bc5c9577-vhhl4 on cp 10.244.6.0", "Node/a → coredns-* on cp"),
        ("Node/a → coredns-66bc5c9577-vhhl4 on cp fd00::7", "Node/a → coredns-* on cp"),
        ("Node/a → API server 172.18.0.2:6443", "Node/a → API server 172.18.0.2:6443"),
        ("Node/a → kube-dns 10.2.112.10:53/tcp", "Node/a → kube-dns 10.2.112.10:53/tcp"),
    ],
)
def test_a_name_without_what_is_new_in_every_run(name: str, expected: str) -> None:
    assert lasting(name) == expected


def test_a_pod_alone_keeps_its_name() -> None:
    cart, other, db = "Pod/shop/cart-6c9f7d5b8-kx2vn", "Pod/shop/cart-6c9f7d5b8-p9w7t", "Pod/shop/db-0"
    assert by_owner((cart, db)) == {cart: (cart,), db: (db,)}
    assert by_owner((cart, db, other)) == {"Pod/shop/cart-*": (cart, other), db: (db,)}
