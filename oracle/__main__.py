"""`python -m oracle`: scenarios on real control planes, compared with what the rehearsal predicts. 1 on a miss.

`--replay DIR` compares recordings that were made before, in seconds and without any control plane.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from fnmatch import fnmatch
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from chaosext.model.errors import ChaosextError, Refused
from chaosext.testbed.kubernetes_releases import is_asked_for, version_to_build
from chaosext.testbed.stage_progress import Progress
from chaosext.testbed.versions import KUBERNETES_VERSION
from oracle.calibration import calibrations, likeliest_share, reliability
from oracle.controlplane import Programs
from oracle.judge import compare
from oracle.play import play
from oracle.recording import Recording
from oracle.scenarios import SCENARIOS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from oracle.calibration import Calibration
    from oracle.judge import Comparison
    from oracle.scenarios import Scenario

LIKELIEST_SHARE = 0.9
"""Of the scenarios that were repeated: in so many the outcome seen most often is the one predicted likeliest."""

LATE_S, ATTEMPTS = 1.0, 3
"""A machine so late says little about Kubernetes' times: the scenario is played again, so often in all."""

APART_S = 6.0
"""Between two starts: a control plane that comes up takes a core for itself."""


def main() -> int:
    """0 when everything was predicted, 1 on a miss, 20 for options that say nothing to play."""
    options = _options()
    try:
        found = _recordings(options)
    except Refused as error:
        print(f"error: {error}", file=sys.stderr)
        return 20
    if not found:
        print(
            "no scenario of that name; known: " + ", ".join(each.name for each in SCENARIOS), file=sys.stderr
        )
        return 20
    comparisons = [compare(each) for each in found if each]
    counts, likeliest = calibrations(comparisons), likeliest_share(comparisons)
    _print(comparisons, counts, likeliest)
    if options.json:
        said = {"comparisons": [asdict(each) for each in comparisons], "calibration": [*map(asdict, counts)]}
        options.json.write_text(json.dumps(said, indent=1) + "\n")
    right = None not in found and all(each.is_foreseen and not each.misses for each in comparisons)
    return 0 if right and likeliest >= LIKELIEST_SHARE and all(each.holds for each in counts) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="oracle", description=__doc__)
    parser.add_argument(
        "--scenarios", nargs="*", default=["*"], metavar="PATTERN", help="by name; default: all"
    )
    parser.add_argument(
        "--kubernetes",
        metavar="VERSION",
        help=f"a minor version, or a release such as v1.33.13; default: {KUBERNETES_VERSION}, of recordings all",
    )
    parser.add_argument("--repeats", type=int, default=1, help="plays of each; default: 1")
    parser.add_argument("--seed", type=int, default=1, help="of the first repeat; default: 1")
    parser.add_argument(
        "--jobs", type=int, default=1, help="control planes at a time, 400 MiB each; default: 1"
    )
    parser.add_argument("--record", type=Path, metavar="DIR", help="keep recordings there")
    parser.add_argument("--replay", type=Path, metavar="DIR", help="compare recordings that are there")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the comparison there")
    return parser.parse_args()


def _recordings(options: argparse.Namespace) -> list[Recording | None]:
    """None for each play that came to nothing."""
    if options.replay:
        found = map(Recording.load, sorted(options.replay.glob("*.json.gz")))
        of_version = (
            each for each in found if is_asked_for(each.kubernetes, options.kubernetes or each.kubernetes)
        )
        return [each for each in of_version if _is_wanted(each.scenario, options.scenarios)]
    wanted = [each for each in SCENARIOS if _is_wanted(each.name, options.scenarios)]
    seeds = range(options.seed, options.seed + options.repeats)
    plays = [(scenario, seed) for seed in seeds for scenario in wanted]
    return _played(plays, options) if plays else []


def _is_wanted(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch(name, pattern) for pattern in patterns)


def _played(plays: Sequence[tuple[Scenario, int]], options: argparse.Namespace) -> list[Recording | None]:
    """Longest first, so that they don't keep the others waiting at the end."""
    progress, gate = Progress(), Lock()
    version = version_to_build(options.kubernetes or KUBERNETES_VERSION)
    programs = Programs.built(progress, version)

    def one(scenario: Scenario, seed: int, directory: Path) -> Recording | None:
        with gate:
            time.sleep(APART_S if options.jobs > 1 else 0)
        try:
            with progress.stage(f"{scenario.name}, seed {seed}"):
                recording = _punctual(scenario, seed, programs, directory, progress)
        except ChaosextError as error:
            progress.line(f"{scenario.name}, seed {seed}: {error}")
            return None
        if options.record:
            recording.save(options.record)
        return recording

    with tempfile.TemporaryDirectory(prefix="oracle-") as home, ThreadPoolExecutor(options.jobs) as pool:
        plays = sorted(plays, key=lambda each: -each[0].cut_for_s)
        started = [
            pool.submit(one, *each, Path(home, str(number))) for number, each in enumerate(plays, start=1)
        ]
        return [each.result() for each in started]


def _punctual(
    scenario: Scenario, seed: int, programs: Programs, directory: Path, progress: Progress
) -> Recording:
    """Played again where the machine was too late to say anything about Kubernetes' times; the most punctual one."""
    found: list[Recording] = []
    while len(found) < ATTEMPTS and not any(each.late_s < LATE_S for each in found):
        found.append(play(scenario, seed, programs, directory / str(len(found))))
        if found[-1].late_s >= LATE_S:
            late = f"the CPU came {found[-1].late_s:.1f} s late; fewer --jobs help"
            progress.line(f"{scenario.name}, seed {seed}: {late}")
    return min(found, key=lambda each: each.late_s)


def _print(comparisons: Sequence[Comparison], counts: Iterable[Calibration], likeliest: float) -> None:
    for each in comparisons:
        ways = ", ".join(f"{state} {chance:.0%}" for state, chance in each.outcomes)
        word = "ok  " if each.is_foreseen and not each.misses else "MISS"
        late = f", CPU {each.late_s:.1f} s late" if each.late_s >= LATE_S else ""
        print(f"{word} {each.scenario}: {each.observed} (predicted {ways}), {each.events} events{late}")
        for miss in each.misses:
            print(f"       {miss}")
    for level in reliability(comparisons):
        print(f"     {level.what}: {level.count} of {level.repeats} came, {level.probability:.0%} predicted")
    hits = sum(each.is_likeliest for each in comparisons)
    print(f"     the likeliest outcome came in {hits} of {len(comparisons)} plays,")
    print(f"     most often in {likeliest:.0%} of the repeated scenarios")
    for count in counts:
        word = "ok  " if count.holds else "MISS"
        print(
            f"{word} {count.what}: {count.count} of {count.repeats}, predicted {count.probability:.0%}"
            f" (p = {count.p_value:.2f})"
        )


if __name__ == "__main__":
    sys.exit(main())
