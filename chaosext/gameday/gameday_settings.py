"""The settings file of a scheduled game day: when, where, what, within which limits, and where its results go."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from chaosext.cluster.object_files import read_mapping
from chaosext.experiment.invalid_settings import Model, in_file, validated
from chaosext.experiment.operator_limits import LimitKeys
from chaosext.gameday.cron import Cron
from chaosext.safety.limits import Hours, fits

if TYPE_CHECKING:
    from pathlib import Path

EXAMPLE = "`chaosext examples gameday`"

CONTROL_PLANE = {"node-role.kubernetes.io/control-plane": ""}
"""A Pod there always reaches an API server: a cut is on the uplinks, and spares the control plane itself."""

NEXT_TIMES = 200
"""Number of next times that are compared with the allowed hours: half a year of a daily schedule."""

DNS_LABEL = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
KEY = r"^[-._a-zA-Z0-9]+$"
UID = r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"
QUANTITY = r"^[0-9]+(\.[0-9]+)?([KMGT]i?)?$"

Name = Annotated[str, Field(pattern=DNS_LABEL, max_length=63)]


def is_own(namespace: str) -> str:
    """Validate the name for pydantic. Raises ValueError for a namespace that others use, too."""
    if namespace in ("default", "istio-system") or namespace.startswith("kube-"):
        raise ValueError(
            f"{namespace} is not chaosext's own; name a namespace with nothing else in it, such as chaosext"
        )
    return namespace


def is_schedule(text: str) -> str:
    """Validate the text for pydantic. Raises ValueError."""
    Cron.parse(text)
    return text


def is_zone(name: str) -> str:
    """Validate the name for pydantic. Raises ValueError."""
    try:
        ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        raise ValueError(
            f"there is no time zone {name!r}; write its IANA name, such as Europe/Berlin"
        ) from None
    return name


class SettingsGroup(BaseModel):
    """A group of keys in a settings file; unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ClusterKeys(SettingsGroup):
    """The game day's cluster; the runner refuses any other."""

    context: str = Field(
        min_length=1, description="Name of the context in the experiment, the results and the pins"
    )
    kube_system_uid: str = Field(
        pattern=UID, description="`kubectl get namespace kube-system -o jsonpath={.metadata.uid}`"
    )
    production: bool = Field(default=False, description="Only approved experiments may act on it")


class History(SettingsGroup):
    """How many finished Jobs the CronJob keeps."""

    successful: int = Field(default=3, ge=0, le=100)
    failed: int = Field(default=5, ge=0, le=100)


class InSecret(SettingsGroup):
    """A key of a Secret in the runner's namespace, which the kubelet mounts: no account needs to read it."""

    secret: Name
    key: str = Field(default="url", pattern=KEY, max_length=253)


class Results(SettingsGroup):
    """Where run directories, audit log and intent log are kept.

    `claim`: an existing PersistentVolumeClaim. `size`: a new one, of `storage_class` ("": the cluster's
    default). Without either, they are deleted with the Pod, and the next run knows only what it finds on
    nodes and in the cluster.
    """

    claim: Annotated[str, Field(max_length=63)] = ""
    size: str = Field(default="", pattern=f"{QUANTITY}|^$")
    storage_class: str = Field(default="", max_length=63)
    keep: int = Field(
        default=50, ge=1, le=10_000, description="How many run directories are kept; the oldest are removed"
    )
    upload: InSecret | None = Field(
        default=None,
        description="A URL, with {name} in it, that takes each run's directory by PUT, as .tar.gz",
    )

    @model_validator(mode="after")
    def _one_volume(self) -> Self:
        if self.claim and self.size:
            raise ValueError("claim and size: set the name of an existing claim, or the size of a new one")
        return self


class GameDaySettings(SettingsGroup):
    """The file that `chaosext schedule` and `chaosext gameday` read."""

    name: Annotated[
        str,
        Field(
            pattern=DNS_LABEL,
            max_length=52,
            description="Name of the CronJob, at most 52 characters",
        ),
    ]
    schedule: Annotated[
        str, AfterValidator(is_schedule), Field(description="A cron schedule: `30 2 * * Tue`")
    ]
    time_zone: Annotated[
        str, AfterValidator(is_zone), Field(description="Time zone of the schedule, an IANA name")
    ] = "Etc/UTC"
    suspend: bool = Field(default=False, description="No game day begins, scheduled or started by hand")
    starting_deadline_s: int = Field(
        default=300,
        ge=10,
        le=86_400,
        description="Seconds; a game day that cannot begin within them is skipped",
    )
    deadline_s: int = Field(
        default=3600, ge=60, le=86_400, description="Seconds; then the Job is ended, and heals first"
    )
    history: History = History()
    image: str = Field(
        default="",
        max_length=500,
        description="Image of runner and node Pods; empty: the testbed's",
    )
    image_pull_secrets: tuple[Name, ...] = ()
    namespace: Annotated[Name, AfterValidator(is_own)] = "chaosext"
    node_selector: dict[str, str] = Field(
        default=CONTROL_PLANE, description="Nodes on which the runner's Pod may run"
    )
    cluster: ClusterKeys
    experiment: str = Field(
        min_length=1, description="A file beside this one, or a bundled experiment's name"
    )
    expect: Literal["passed", "deviated"] | None = Field(
        default=None, description="The verdict that counts as success"
    )
    configuration: dict[str, Any] = Field(default={}, description="Values that replace the experiment's own")
    limits: LimitKeys = Field(
        default=LimitKeys.model_validate({}),
        description="Limits, as in an operator's limits file: max_ttl_s, allowed_hours, …",
    )
    stop_conditions: tuple[Any, ...] = Field(default=(), description="Heal at once when one becomes true")
    webhook: InSecret | None = Field(
        default=None, description="URL that receives each outcome as JSON; ca.crt beside it: the CA to trust"
    )
    results: Results = Results()

    @model_validator(mode="after")
    def _comes_due_in_time(self) -> Self:
        if self.limits.allowed_hours and not any(
            self._is_allowed(time) for time in self.next_times(NEXT_TIMES)
        ):
            raise ValueError(
                f"schedule: none of its next {NEXT_TIMES} times is within limits.allowed_hours, so every game day would"
                " be refused"
            )
        return self

    def next_times(self, count: int, since: datetime | None = None) -> list[datetime]:
        """Return when it is due next."""
        times = Cron.parse(self.schedule).times(since or datetime.now(UTC), ZoneInfo(self.time_zone))
        return list(islice(times, count))

    def _is_allowed(self, time: datetime) -> bool:
        hours = [Hours.parse(text) for text in self.limits.allowed_hours]
        return fits(hours, time.astimezone(UTC), time.astimezone(UTC) + timedelta(minutes=1))


def read_settings(path: Path) -> GameDaySettings:
    """Read the settings in the file at `path`. Raises `Refused`, which names field and fix."""
    return read_model(path, GameDaySettings, EXAMPLE)


def read_model(path: Path, model: type[Model], example: str) -> Model:
    """Read the file at `path` as a `model`; `example` shows the fields. Raises `Refused`."""
    value, _ = read_mapping(path, "settings", f"compare with {example}")
    return validated(value, model, in_file(path), example=f"compare with {example}")
