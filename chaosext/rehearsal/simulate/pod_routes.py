"""Pod routes that end during a cut between nodes that the cut leaves together, and return."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaosext.model.timeline import Kind

if TYPE_CHECKING:
    from chaosext.rehearsal.simulate.simulation import Scene

SOURCE = "BGP sessions across the cut"


class PodRoutes:
    """Marks in one simulation when observers lose and regain routes."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene

    def begin(self) -> None:
        """Schedule the changes of routes."""
        stage = self._scene.stage
        changes_s = self._scene.route_changes_s
        if not changes_s or not stage.stranded:
            return
        self._scene.trace.routes_lost_s = changes_s[0]
        for turn, t in enumerate(changes_s):
            self._scene.at(t, self._tell, turn % 2 == 0)

    def _tell(self, t: float, are_lost: bool) -> None:
        kind = Kind.ROUTE_LOST if are_lost else Kind.ROUTE_RESTORED
        for number, hosts in self._scene.stage.stranded.items():
            said = f"{hosts} node{'s' * (hosts != 1)} that it is not cut off from"
            detail = f"reaches no Pods on {said}" if are_lost else f"reaches Pods again on {said}"
            self._scene.mark(t, kind, self._scene.stage.world.nodes[number].subject, detail, SOURCE)
