"""The output of `chaosext schedule`: the same objects as one YAML file, a kustomization, or values of a chart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chaosext.cluster.yaml_writer import as_yaml
from chaosext.gameday import cluster_fleet as fleets
from chaosext.gameday import manifests
from chaosext.gameday.effective_experiment import agents_of, effective
from chaosext.gameday.manifests import EXPERIMENT_FILE, SETTINGS_FILE
from chaosext.model.errors import Refused
from chaosext.nodes.image_names import runner_image

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from chaosext.experiment.load import Experiment
    from chaosext.gameday.cluster_fleet import Fleet
    from chaosext.gameday.gameday_settings import GameDaySettings
    from chaosext.gameday.manifests import Manifest


SHOWN = 3
"""Number of a schedule's next times that are printed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Composed:
    """The objects to apply. `said`: a line for the user; `values`: the chart's, None if it does not support them.

    `approved`: the experiment as it runs, which `chaosext approve` approves; "" if nothing runs.
    """

    objects: list[Manifest]
    said: str
    values: dict[str, Any] | None = None
    approved: str = ""


def compose(settings: GameDaySettings, beside: Path) -> Composed:
    """Compose a game day. `beside`: the directory of the settings' experiment. Raises `Refused`."""
    experiment = effective(settings, beside)
    files, agents = files_of(settings, experiment), agents_of(settings, experiment)
    return Composed(
        objects=manifests.objects(settings, files, agents),
        said=_said(settings),
        values=_values(settings, files, list(manifests.admission(settings, agents))),
        approved=files[EXPERIMENT_FILE],
    )


def compose_fleet(fleet: Fleet, beside: Path) -> Composed:
    """Compose a fleet's rehearsal. `beside`: the directory of its plan. Raises `Refused`."""
    when = f"{fleet.schedule} {fleet.time_zone}" if fleet.schedule else "once, now"
    return Composed(
        objects=fleets.objects(fleet, fleets.files_of(fleet, beside)),
        said=f"{fleet.namespace}/{fleet.name}: {len(fleet.clusters)} clusters, {when}",
    )


def files_of(settings: GameDaySettings, experiment: Experiment) -> dict[str, str]:
    """Return the ConfigMap's files.

    The experiment already includes the values; the settings keep them for readers.
    """
    named = settings.model_copy(update={"experiment": EXPERIMENT_FILE})
    plainly = named.model_dump(mode="json", exclude_defaults=True)
    return {SETTINGS_FILE: as_yaml(plainly), EXPERIMENT_FILE: as_yaml(experiment)}


def plain(composed: Composed) -> dict[str, str]:
    """Return the file for `kubectl apply -f chaosext.yaml`."""
    return {"chaosext.yaml": as_yaml(*composed.objects)}


def kustomize(composed: Composed) -> dict[str, str]:
    """Return the files for `kubectl apply -k DIR`: one per object, which overlays can patch."""
    named = {file_name(each): as_yaml(each) for each in composed.objects}
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": list(named),
    }
    return {"kustomization.yaml": as_yaml(kustomization), **named}


def helm_values(composed: Composed) -> dict[str, str]:
    """Return the values for `helm install -f values.yaml … deploy/helm/chaosext`. Raises `Refused` for a fleet."""
    if composed.values is None:
        raise Refused(
            "--format helm-values: the chart supports game days only", "use plain or kustomize for a fleet"
        )
    return {"values.yaml": as_yaml(composed.values)}


FORMATS: Mapping[str, Callable[[Composed], dict[str, str]]] = {
    "plain": plain,
    "kustomize": kustomize,
    "helm-values": helm_values,
}
"""Format -> function that returns its files, by name."""


def file_name(each: Manifest) -> str:
    """Return a name such as `rolebinding-kube-system.yaml`: the kind, and a role's namespace or a policy's suffix."""
    kind, metadata = each["kind"], each["metadata"]
    which = {
        "Role": metadata.get("namespace"), "ValidatingAdmissionPolicy": metadata["name"].rpartition("-")[2],
    }.get(kind.removesuffix("Binding"))  # fmt: skip
    return f"{kind.lower()}-{which}.yaml" if which else f"{kind.lower()}.yaml"


def _said(settings: GameDaySettings) -> str:
    times = ", ".join(f"{time:%a %Y-%m-%d %H:%M}" for time in settings.next_times(SHOWN))
    suspended = " (suspended)" if settings.suspend else ""
    return f"{settings.namespace}/{settings.name}: next {times} {settings.time_zone}{suspended}"


def _values(settings: GameDaySettings, files: dict[str, str], admission: list[Manifest]) -> dict[str, Any]:
    """Return the settings with all defaults, the files, and the policies, which a chart's templates can't derive."""
    said = settings.model_dump(mode="json")
    said["limits"] = settings.limits.model_dump(mode="json", exclude_defaults=True)
    return {**said, "image": settings.image or runner_image(), "files": files, "admission": admission}
