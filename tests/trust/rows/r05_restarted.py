"""Row 5: a node is restarted while its cut is kept in force; it comes back open, and nobody cuts it again."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.trust.lab.kind import Container, Testbed, docker, testbed, wait_for_cluster
from tests.trust.lab.stage import Nursery, Outcome, summed, try_once
from tests.trust.lab.trial import experiment
from tests.trust.row import Effort, Ground, Measured, NotHere, Row

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.trust.lab.trial import Trial

TIMES = {Effort.FAST: 2, Effort.FULL: 10}
TTL_S = 8.0
WATCHED_S = 2.5
"""That long after the restart nobody may cut the node again: longer than it takes to renew (each 0.5 s)."""

ENDED = (20, 30, 40)
"""Whoever renews is refused, or the node did not answer: never 0."""


def in_containers(effort: Effort) -> Measured:
    """Two bare containers, and a process on this machine that renews the cut between them."""
    items = [f"restart {number}" for number in range(TIMES[effort])]
    with pair() as bed, a_nursery() as nursery:
        outcomes = [try_once(bed, nursery, restarted, item) for item in items]
    return summed(items, outcomes, "s from the restart's end to an open path")


def on_the_cluster(_: Effort) -> Measured:
    """The testbed's control plane, under a real run with a dead man's switch."""
    with testbed() as (bed, nursery):
        outcome = try_once(bed, nursery, control_plane_restarted, "the control plane")
    wait_for_cluster()
    return summed(["the control plane"], [outcome], "s from the restart's end to an open path")


def restarted(trial: Trial, _: str) -> Outcome:
    outcome, bed = Outcome(), trial.lab
    assert isinstance(bed, Testbed)
    peers = ",".join(address for worker in bed.workers for address in worker.addresses)
    argv = ("restarted", f"{TTL_S:g}", "0.5", "docker", "eth0", peers, bed.control.name)
    process = trial.call("tests.trust.lab.renewing:main", *argv)
    outcome.expect(trial.reaches("renewed"), f"never renewed: {trial.out[-300:]!r}")
    outcome.figure = _restart(bed, outcome)
    code = process.wait(60)
    outcome.expect(code in ENDED, f"who renews ended with {code}: {trial.out[-300:]!r}")
    return outcome


def control_plane_restarted(trial: Trial, _: str) -> Outcome:
    outcome, bed = Outcome(), trial.lab
    assert isinstance(bed, Testbed)
    process = trial.run(experiment(ttl_s=60, hold_s=6, dead_man_s=4, move=False, **bed.where))
    outcome.expect(trial.reaches("hold", 60), f"never held: {trial.out[-300:]!r}")
    outcome.figure = _restart(bed, outcome)
    code = process.wait(180)
    outcome.expect(code in ENDED, f"the run ended with {code}: {trial.out[-300:]!r}")
    return outcome


def _restart(bed: Testbed, outcome: Outcome) -> float:
    """Restart the cut node, and watch: how many seconds until all paths were seen open."""
    outcome.expect(bed.eye.cut_s is not None and bed.eye.open_s is None, "not cut when it was restarted")
    docker("restart", "--time", "1", bed.control.name)
    began_s = time.monotonic()
    bed.look_anew()
    bed.begin()
    opened_s = time.monotonic() - began_s
    time.sleep(WATCHED_S)
    outcome.expect(bed.eye.cut_s is None, "cut again after the restart")
    return opened_s


@contextmanager
def pair() -> Iterator[Testbed]:
    """Two containers of the testbed's node image, which has nft, on docker's own network."""
    image = _image()
    names = [f"trust-{os.getpid()}-{role}" for role in ("node", "peer")]
    try:
        for name in names:
            docker(
                "run",
                "--detach",
                "--cap-add",
                "NET_ADMIN",
                "--entrypoint",
                "sleep",
                "--name",
                name,
                image,
                "600",
            )
        node, peer = map(Container.named, names)
        bed = Testbed(control=node, workers=(peer,))
        try:
            yield bed
        finally:
            bed.close()
    finally:
        docker("rm", "--force", *names)


def _image() -> str:
    names = docker("images", "--format", "{{.Repository}}:{{.Tag}}").split()
    found = next(
        (name for name in names if name.startswith(("chaosext.local/leaf:", "chaosext.local/node:"))), ""
    )
    if not found:
        raise NotHere("needs an image with nft: chaosext testbed up makes one")
    return found


@contextmanager
def a_nursery() -> Iterator[Nursery]:
    """A nursery of its own."""
    folder = Path(tempfile.mkdtemp(prefix="trust-containers-"))
    nursery = Nursery(folder)
    try:
        yield nursery
    finally:
        nursery.close()
        shutil.rmtree(folder, ignore_errors=True)


ROW = Row(
    number=5,
    title="target node restarted mid-cut x 10, and once the testbed's control plane",
    bar="healed, not re-armed",
    measures=((Ground.CONTAINERS, in_containers), (Ground.CLUSTER, on_the_cluster)),
)
