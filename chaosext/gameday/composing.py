"""The files that `chaosext schedule` writes: the same objects as one YAML, a kustomization, or values of a chart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chaosext.gameday.experiment import effective
from chaosext.gameday.manifests import EXPERIMENT_FILE, SETTINGS_FILE, objects
from chaosext.nodes.image import runner_image

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from chaosext.gameday.manifests import Manifest
    from chaosext.gameday.settings import Settings
    from chaosext.run.reading.experiment import Experiment


@dataclass(frozen=True, slots=True, kw_only=True)
class Composed:
    """A game day as it is applied. `experiment` is what is approved, and what `chaosext run` would run as well."""

    settings: Settings
    experiment: Experiment

    @property
    def files(self) -> dict[str, str]:
        """What the ConfigMap holds. The values are in the experiment already, and stay in the settings for people."""
        named = self.settings.model_copy(update={"experiment": EXPERIMENT_FILE})
        settings = named.model_dump(mode="json", exclude_defaults=True)
        return {SETTINGS_FILE: as_yaml(settings), EXPERIMENT_FILE: as_yaml(self.experiment)}

    @property
    def objects(self) -> list[Manifest]:
        return objects(self.settings, self.files)


def compose(settings: Settings, beside: Path) -> Composed:
    """`beside` is where the settings' experiment is looked for. Raises `Refused`."""
    return Composed(settings=settings, experiment=effective(settings, beside))


def as_yaml(*documents: Any) -> str:
    """Texts of several lines stay texts of several lines, so that a ConfigMap can be read."""
    import yaml

    class Dumper(yaml.SafeDumper):
        pass

    Dumper.add_representer(str, _text)
    text: str = yaml.dump_all(documents, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=10**6)
    return text


def _text(dumper: Any, text: str) -> Any:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


def plain(composed: Composed) -> dict[str, str]:
    """`kubectl apply -f gameday.yaml`."""
    return {"gameday.yaml": as_yaml(*composed.objects)}


def kustomize(composed: Composed) -> dict[str, str]:
    """`kubectl apply -k DIR`: a file for each object, to be patched by overlays."""
    named = {file_name(each): as_yaml(each) for each in composed.objects}
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": list(named),
    }
    return {"kustomization.yaml": as_yaml(kustomization), **named}


def helm_values(composed: Composed) -> dict[str, str]:
    """`helm install -f values.yaml … deploy/helm/chaosext`: the settings with all defaults, and the files."""
    settings = composed.settings.model_dump(mode="json")
    settings["limits"] = composed.settings.limits.model_dump(mode="json", exclude_defaults=True)
    image = settings["image"] or runner_image()
    return {"values.yaml": as_yaml({**settings, "image": image, "files": composed.files})}


FORMATS: Mapping[str, Callable[[Composed], dict[str, str]]] = {
    "plain": plain,
    "kustomize": kustomize,
    "helm-values": helm_values,
}
"""Format -> what makes its files, by name."""


def file_name(each: Manifest) -> str:
    """`rolebinding-kube-system.yaml`: the kind, and the namespace of a role."""
    where = f"-{each['metadata']['namespace']}" if each["kind"] in ("Role", "RoleBinding") else ""
    return f"{each['kind'].lower()}{where}.yaml"
