"""What a trial is played in: the namespaces of a lab, or the nodes of the testbed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.trust.lab.lab import Eye


class ApiServer(Protocol):
    def tell(self, **order: Any) -> dict[str, Any]: ...


class Bed(Protocol):
    """Nodes, an eye on them, and an API server."""

    eye: Eye

    @property
    def api(self) -> ApiServer: ...

    @property
    def where(self) -> Mapping[str, str]:
        """What an experiment says about where: context and transport."""
        ...

    @property
    def nodes(self) -> tuple[str, ...]: ...

    @property
    def looking(self) -> list[str]:
        """The options of `status` and `cleanup` that name these nodes."""
        ...

    def node(self, role: str) -> str: ...

    def introduce(self, home: Path) -> None: ...

    def begin(self, controls: int) -> None: ...

    def residue(self) -> tuple[str, ...]: ...

    def clean(self) -> None: ...
