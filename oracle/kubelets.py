"""KWOK in the place of kubelets: one process for the nodes that are cut, one for the others. A cut stops the first."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import subprocess

    from oracle.controlplane import ControlPlane, Programs

SIDE = "oracle.chaosext/side"
KEPT, CUT = "kept", "cut"
LEASE_S = 40
"""kubelet's nodeLeaseDurationSeconds; KWOK as well renews after a quarter of it, up to 4 % late."""

STAGES = Path(__file__).parent / "stages.yaml"


class Kubelets:
    """Both processes. A stopped one renews no lease, reports no Pod and ends none, like a node without its uplink."""

    def __init__(self, plane: ControlPlane, programs: Programs) -> None:
        self._kept = self._run(plane, programs, KEPT)
        self._cut = self._run(plane, programs, CUT)

    def cut(self) -> None:
        self._cut.send_signal(signal.SIGSTOP)

    def heal(self) -> None:
        self._cut.send_signal(signal.SIGCONT)

    @property
    def alive(self) -> bool:
        return self._kept.poll() is None and self._cut.poll() is None

    def _run(self, plane: ControlPlane, programs: Programs, side: str) -> subprocess.Popen[bytes]:
        flags = [
            f"--kubeconfig={plane.kubeconfig}",
            f"--config={STAGES}",
            "--manage-all-nodes=false",
            f"--manage-nodes-with-label-selector={SIDE}={side}",
            f"--node-lease-duration-seconds={LEASE_S}",
            f"--cidr=10.244.{0 if side == KEPT else 128}.0/17",
            "--node-ip=172.18.0.2",
        ]
        return plane.run(f"kwok-{side}", [programs.kwok / "kwok", *flags])
