"""The CNI plugin by the nodes' own configuration: all of them, or none."""

from __future__ import annotations

import json

import pytest

from chaosext.checks.cni_files import parse_plugin, plugin_on_all


@pytest.mark.parametrize(
    ("text", "plugin"),
    [
        (json.dumps({"name": "a", "plugins": [{"type": "macvlan"}, {"type": "portmap"}]}), "macvlan"),
        (json.dumps({"name": "a", "type": "ipvlan"}), "ipvlan"),
        (json.dumps({"plugins": []}), ""),
        (json.dumps([]), ""),
        ("", ""),
        ("not JSON", ""),
    ],
)
def test_the_first_plugin_gives_pods_their_network(text: str, plugin: str) -> None:
    assert parse_plugin(text) == plugin


def test_without_nodes_nothing_is_known() -> None:
    assert plugin_on_all({}, []) == ""
