"""Where and how: typed settings, and whoever mistypes one is told which."""

from __future__ import annotations

from typing import Any

import pytest

from chaosext.experiment.settings import settings_from
from chaosext.model.errors import Refused

SECRETS = {"KUBERNETES_CONTEXT": "kind-chaosext"}


def test_defaults() -> None:
    settings = settings_from(None, SECRETS)
    assert (settings.context, settings.leaf_container) == ("kind-chaosext", "chaosext-leaf")
    assert settings.namespaces == ("shop",)
    assert hash(settings) == hash(settings_from({"other": 1, 5: 6}, SECRETS))


def test_keys_of_the_configuration() -> None:
    settings = settings_from({"chaosext_leaf": "tor-1", "chaosext_namespaces": ["a", "b"]}, SECRETS)
    assert (settings.leaf_container, settings.namespaces) == ("tor-1", ("a", "b"))


@pytest.mark.parametrize(
    ("configuration", "secrets", "said"),
    [
        ({}, None, "secrets.KUBERNETES_CONTEXT is not set"),
        ({}, {"KUBERNETES_CONTEXT": ""}, "secrets.KUBERNETES_CONTEXT is not set"),
        ({}, {"KUBERNETES_CONTEXT": 5}, "secrets.KUBERNETES_CONTEXT"),
        ({"chaosext_max_ttl": 5}, SECRETS, "did you mean chaosext_max_ttl_s"),
        (
            {"chaosext_zebra": 5},
            SECRETS,
            "configuration.chaosext_zebra: unknown key: known: chaosext_activity_timeout_s, chaosext_allowed_hours",
        ),
        ({"chaosext_max_ttl_s": 0}, SECRETS, "configuration.chaosext_max_ttl_s"),
        ({"chaosext_max_ttl_s": 3601}, SECRETS, "configuration.chaosext_max_ttl_s"),
        ({"chaosext_max_node_share": 1.1}, SECRETS, "configuration.chaosext_max_node_share"),
        ({"chaosext_allowed_hours": "Mon 9-10"}, SECRETS, "configuration.chaosext_allowed_hours"),
        ({"chaosext_protected_nodes": [""]}, SECRETS, "configuration.chaosext_protected_nodes"),
        ({"chaosext_lookups": "many"}, SECRETS, "configuration.chaosext_lookups"),
        ({"chaosext_transport": "ssh"}, SECRETS, "configuration.chaosext_transport"),
        ({"chaosext_leaf": "--privileged"}, SECRETS, "configuration.chaosext_leaf"),
        ({"chaosext_leaf": "a/../b"}, SECRETS, "is not a valid name of a container"),
        ({"chaosext_entry": "-v/:/host"}, SECRETS, "configuration.chaosext_entry"),
        ({"chaosext_entry_customers": "-u0"}, SECRETS, "configuration.chaosext_entry_customers"),
        ({"chaosext_cut_nodes": ["w1", "-w2"]}, SECRETS, "'-w2' is not a valid name of a node"),
        ({"chaosext_cut_nodes": ["W1"]}, SECRETS, "RFC 1123 subdomain"),
        ({"chaosext_namespace": "a/../../nodes"}, SECRETS, "configuration.chaosext_namespace"),
        ({"chaosext_namespaces": ["shop", "a?b"]}, SECRETS, "'a?b' is not a valid name of a namespace"),
        ({"chaosext_context": "production"}, SECRETS, "configuration.chaosext_context: unknown key"),
    ],
)
def test_what_is_refused(configuration: dict[str, Any], secrets: dict[str, Any] | None, said: str) -> None:
    with pytest.raises(Refused) as refused:
        settings_from(configuration, secrets)
    assert said in str(refused.value)
