"""An admission webhook fails closed: nothing that it watches is created while its own Pods don't answer."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from chaosext.diagnose.knowledge import Cause, DiagnosisRule, FixCommand, keys
from chaosext.diagnose.symptoms import NOT_CREATED_S, SymptomKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from chaosext.diagnose.knowledge import Patient

_FAILED = re.compile(r'failed calling webhook "(?P<name>[^"]+)".*?: (?P<why>[^:]+(?:: [^:]+)?)$', re.S)
"""Of the API server (k8s.io/apiserver, pkg/admission/plugin/webhook)."""

KINDS = ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")


def find(patient: Patient) -> Iterator[Cause]:
    """Read FailedCreate Events: they name the webhook, and why the API server got no answer from it."""
    failed: dict[str, list[Any]] = {}
    for event in patient.sight.recent("FailedCreate", within_s=NOT_CREATED_S):
        if match := _FAILED.search(event.message):
            failed.setdefault(match["name"], []).append((event, match["why"]))
    for name, found in failed.items():
        short = [each for each in patient.symptoms if name in each.said]
        if not short:
            continue  # an old Event: the workload has its Pods by now
        config, number, hook = _hook(patient, name)
        service = ((hook.get("clientConfig") or {}).get("service")) or {}
        key = (str(service.get("namespace", "")), str(service.get("name", "")))
        served = [each for each in patient.sight.endpoints.get(key, ()) if each.ready]
        subject = f"Service/{key[0]}/{key[1]}"
        serving = [
            each
            for each in patient.of(SymptomKind.SERVICE, SymptomKind.WORKLOAD)
            if each.subject == subject or each.subject.endswith(f"/{key[0]}/{key[1]}")
        ]
        event, why = found[-1]
        yield Cause(
            subject=f"{config or 'webhook'} {name}",
            said=f"webhook {name} fails closed and gets no answer ({why.strip()[:60]}): its Pods are not created",
            grounds=keys(short),
            because=keys(serving),
            since=min((each.first_seen for each, _ in found if each.first_seen), default=None),
            evidence=(
                f"{event.involved}: {event.message[:160]}",
                *([f"{subject} has {len(served)} ready addresses"] if key[0] else []),
            ),
            fixes=tuple(_fixes(patient, config, number, key, bool(served))),
        )


def _hook(patient: Patient, name: str) -> tuple[str, int, Mapping[str, Any]]:
    for kind in KINDS:
        for config in patient.sight.items(kind):
            for number, hook in enumerate(config.get("webhooks") or ()):
                if hook.get("name") == name:
                    return f"{kind}/{config['metadata']['name']}", number, hook
    return "", 0, {}


def _fixes(
    patient: Patient, config: str, number: int, key: tuple[str, str], is_served: bool
) -> Iterator[FixCommand]:
    if key[0]:
        yield FixCommand(
            what="bring back the Pods that serve it" if not is_served else "see why it does not answer",
            command=f"{patient.kubectl} -n {key[0]} get pod,endpointslice -o wide",
            risk="none",
        )
    if not config:
        yield FixCommand(
            what="find its configuration, and bring back the Pods that serve it",
            command=f"{patient.kubectl} get mutatingwebhookconfigurations,validatingwebhookconfigurations",
            risk="none",
        )
    if config:
        patch = f'[{{"op":"replace","path":"/webhooks/{number}/failurePolicy","value":"Ignore"}}]'
        yield FixCommand(
            what="or let Pods be created without it, and set it back to Fail afterwards",
            command=f"{patient.kubectl} patch {config.lower()} --type=json -p '{patch}'",
            risk="what is created meanwhile is neither changed nor checked: Pods get no sidecar, policies don't hold",
        )


RULE = DiagnosisRule(
    name="webhook_fails_closed",
    title="An admission webhook fails closed",
    source="Kubernetes documentation, Dynamic Admission Control (failurePolicy)",
    find=find,
)
