"""Which cluster an experiment means: one, named by every activity that can reach one."""

from __future__ import annotations

from typing import Any

import pytest

from chaosext.experiment.resolve import resolve
from chaosext.model.errors import Refused

SECRETS = {
    "kubernetes": {"KUBERNETES_CONTEXT": "kind-chaosext"},
    "elsewhere": {"KUBERNETES_CONTEXT": "production"},
    "contextless": {"KUBERNETES_VERIFY_SSL": "true"},
}


def probe(module: str, *groups: str) -> dict[str, Any]:
    provider = {"type": "python", "module": module, "func": "f", "secrets": list(groups)}
    return {"type": "probe", "name": module, "provider": provider}


OURS = probe("chaosext.probes", "kubernetes")


def experiment(*method: dict[str, Any]) -> dict[str, Any]:
    return {"title": "t", "secrets": SECRETS, "method": list(method)}


def test_chaostoolkit_kubernetes_may_ask_the_cluster_that_we_ask() -> None:
    theirs = probe("chaosk8s.node.probes", "kubernetes", "contextless")
    assert resolve(experiment(theirs, OURS)).settings.context == "kind-chaosext"


def test_others_than_kubernetes_need_no_context() -> None:
    assert resolve(experiment(probe("chaoslib.somewhere"), OURS)).settings.context == "kind-chaosext"


@pytest.mark.parametrize(
    ("groups", "named"),
    [((), "None"), (("contextless",), "None"), (("elsewhere",), "'production'")],
)
@pytest.mark.parametrize("first", [True, False])
def test_an_implicit_or_another_context_is_refused_with_its_place(
    groups: tuple[str, ...], named: str, first: bool
) -> None:
    theirs = probe("chaosk8s.pod.actions", *groups)
    method = (theirs, OURS) if first else (OURS, theirs)
    place = rf"method\[{method.index(theirs)}\]"
    with pytest.raises(Refused, match=rf"^{place}: its KUBERNETES_CONTEXT is {named}.*provider\.secrets"):
        resolve(experiment(*method))


def test_our_own_activities_mean_one_cluster() -> None:
    with pytest.raises(Refused, match=r"method\[1\]: its KUBERNETES_CONTEXT is 'production'"):
        resolve(experiment(OURS, probe("chaosext.actions", "elsewhere")))
