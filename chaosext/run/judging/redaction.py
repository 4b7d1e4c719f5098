"""What a journal may hold of an experiment's secrets: their names. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PUBLIC = frozenset({"KUBERNETES_CONTEXT", "KUBERNETES_VERIFY_SSL"})
"""Which cluster was meant, and that TLS was verified, is what a reader has to know; the rest is not theirs."""

REDACTED = "(redacted)"


def redacted(journal: Mapping[str, Any]) -> dict[str, Any]:
    """`journal` with every value in its experiment's `secrets` taken out, but those that name the cluster.

    Secrets from the environment or a vault are references there anyway; one written into the file is not.
    """
    experiment = journal.get("experiment")
    if not isinstance(experiment, Mapping) or "secrets" not in experiment:
        return dict(journal)
    return {**journal, "experiment": {**experiment, "secrets": _without_values(experiment["secrets"])}}


def _without_values(secrets: Any) -> Any:
    if not isinstance(secrets, Mapping):
        return REDACTED
    return {
        key: _without_values(value) if isinstance(value, Mapping) else value if key in PUBLIC else REDACTED
        for key, value in secrets.items()
    }
