"""A run as Prometheus metrics: a file for node_exporter's textfile collector, or an endpoint to scrape.

What is not observed has no value: it is absent, never healthy. Labels are lanes, kinds and nodes; Pods are counted.
docs/metrics.md documents each metric.
"""

from __future__ import annotations

import re
import threading
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, generate_latest, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.registry import Collector

from chaosext.model.errors import Refused
from chaosext.model.files import write_whole
from chaosext.model.printable import one_line
from chaosext.model.redact import veiled
from chaosext.model.result import Lane
from chaosext.model.timeline import Kind
from chaosext.model.verdict import Outcome
from chaosext.run.monitor.progress import FROM_THE_API_SERVER, FROM_THE_ENTRY
from chaosext.timeline.outages import lasts, united

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from prometheus_client.metrics_core import Metric

    from chaosext.model.result import Window
    from chaosext.run.monitor.progress import LiveScene, Picture

EVERY_S = 5.0
"""Interval of writing the file, seconds; a node_exporter is usually scraped every 15 s or more."""

PARTING_S = 1.0
"""Timeout of the last write at the end of a run, seconds."""

HERE = "127.0.0.1"
FIX = "give a file such as chaosext.prom in node_exporter's directory, a free port, or HOST:PORT"

_PLACE = re.compile(r"(?:(?P<host>[^/]*):)?(?P<port>[0-9]{1,9})")


def open_metrics(place: str) -> Exporter:
    """Where metrics go: a port (of 127.0.0.1), `HOST:PORT`, or else a file.

    Raises `Refused` for a port that can't be opened, and for a file that can't be written.
    """
    found = _PLACE.fullmatch(place)
    if not found:
        return FileExporter(place)
    return PortExporter(HERE if found["host"] is None else found["host"].strip("[]"), int(found["port"]))


class Exporter:
    """Exports a run from `follow` until it is closed. `where` is the destination, for people."""

    where: str

    def __init__(self) -> None:
        self._registry = CollectorRegistry()

    def follow(self, scene: LiveScene) -> None:
        """Export this run's metrics from now on."""
        self._registry.register(_Sight(scene))

    def close(self) -> str:
        """Export the run's end, within `PARTING_S`. Returns the problem; "" for none."""
        return ""


class _Sight(Collector):
    """Collects the run's metrics on each scrape."""

    def __init__(self, scene: LiveScene) -> None:
        self._scene = scene

    def collect(self) -> Iterable[Metric]:
        return families(self._scene.picture())

    def describe(self) -> Iterable[Metric]:
        return ()


class PortExporter(Exporter):
    """Answers scrapes while the run lasts."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__()
        try:
            self._server, _ = start_http_server(port, addr=host, registry=self._registry)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise Refused(f"--metrics {host}:{port}: {reason}", FIX) from None
        shown = f"[{host}]" if ":" in host else host
        self.where = f"http://{shown}:{self._server.server_port}/metrics"

    def close(self) -> str:
        self._server.shutdown()
        self._server.server_close()
        return ""


class FileExporter(Exporter):
    """Writes the file atomically, again and again, from a thread of its own: a disk may hang."""

    def __init__(self, place: str) -> None:
        super().__init__()
        self._path = _file(place)
        self.where, self._problem = str(self._path), ""
        self._over = threading.Event()
        self._writing = threading.Thread(target=self._write_all, name="metrics", daemon=True)
        self._write()
        if self._problem:
            raise Refused(f"--metrics {place}: {self._problem}", FIX)

    def follow(self, scene: LiveScene) -> None:
        super().follow(scene)
        self._writing.start()

    def close(self) -> str:
        self._over.set()
        self._writing.join(PARTING_S)
        problem = "not written in time" if self._writing.is_alive() else self._problem
        return f"--metrics {self._path}: {problem}" if problem else ""

    def _write_all(self) -> None:
        while not self._over.wait(EVERY_S):
            self._write()
        self._write()

    def _write(self) -> None:
        """Write the file; a disk that is full now may have room the next time."""
        try:
            write_whole(self._path, generate_latest(self._registry), fsync=False)
            self._problem = ""
        except Exception as error:  # whatever it is, the run goes on
            self._problem = getattr(error, "strerror", None) or type(error).__name__


def _file(place: str) -> Path:
    """The file to write; refuses what is not a regular file, such as /dev/null, which would be replaced."""
    path = Path(place).resolve()
    if not place or (path.exists() and not path.is_file()):
        raise Refused(f"--metrics {place!r}: not a file", FIX)
    return path


def families(picture: Picture) -> Iterator[Metric]:
    """Every metric of a run as of now."""
    yield from _run(picture)
    yield from _cut(picture)
    yield from _nodes(picture)
    yield from _lanes(picture)
    counted = Counter(event.kind for event in picture.events)
    events = CounterMetricFamily("chaosext_events", "Events of the timeline, by kind.", labels=["kind"])
    for kind in Kind:
        events.add_metric([kind.value], counted[kind])
    yield events


def _run(picture: Picture) -> Iterator[Metric]:
    info = {
        "run": picture.run,
        "experiment": picture.experiment,
        "context": picture.briefing.context if picture.briefing else "",
    }
    said = {name: one_line(veiled(value)) for name, value in info.items()}
    yield InfoMetricFamily("chaosext_run", "The run of these metrics.", value=said)
    yield _gauge(
        "chaosext_run_over", "1 once the run has ended and its verdict is known.", bool(picture.verdict)
    )
    if picture.verdict:
        verdicts = {outcome.value: outcome is picture.verdict.outcome for outcome in Outcome}
        yield _by("chaosext_verdict", "1 for the run's verdict, once it has ended.", "verdict", verdicts)
        code = picture.verdict.exit_code_for(picture.expected)
        yield _gauge("chaosext_exit_code", "The exit code of the run's process, once it has ended.", code)


def _cut(picture: Picture) -> Iterator[Metric]:
    yield _gauge("chaosext_cut_in_force", "1 while the cut may be active.", picture.in_force)
    yield _gauge(
        "chaosext_cut_ttl_seconds", "Seconds until the cut's TTL expires; 0 without a cut.", picture.ttl_s
    )
    yield _gauge(
        "chaosext_cut_let_go_seconds",
        "Seconds until the cut expires unless it is renewed; 0 without a cut.",
        picture.let_go_s,
    )
    if picture.now_s is not None:
        yield _gauge("chaosext_cut_age_seconds", "Seconds since the first cut was made.", picture.now_s)


def _observed(picture: Picture) -> Mapping[str, bool]:
    """Node -> whether it is observed now: after the run none is."""
    return {node: picture.is_observed(node) and not picture.verdict for node in picture.nodes}


def _nodes(picture: Picture) -> Iterator[Metric]:
    """The state of each node; before the cut only whether it is observed, as events have no date until then."""
    observed = _observed(picture)
    yield _by("chaosext_observed", "1 while the node's sentinel is heard.", "node", observed)
    if picture.now_s is None:
        return
    dns = picture.outages.get(Lane.DNS, {})
    known = [node for node, seen in observed.items() if seen and not _is_unmeasured(picture, node)]
    up = {node: not lasts(dns.get(f"Node/{node}", ())) for node in known}
    yield _by("chaosext_dns_up", "1 if kube-dns answers on the node; absent if not observed.", "node", up)
    if picture.is_api_server_heard and not picture.verdict:
        said = "1 if the control plane reports the node Ready."
        yield _by("chaosext_node_ready", said, "node", picture.ready)
    lost = any(map(lasts, picture.outages.get(Lane.XDS, {}).values()))
    unknown = any(map(lasts, picture.unmeasured.get(Lane.XDS, {}).values()))
    is_meshed = lost or Lane.XDS not in picture.absent
    if is_meshed and any(observed.values()) and (lost or (all(observed.values()) and not unknown)):
        yield _gauge("chaosext_xds_synced", "1 while every sidecar has xDS, 0 while one lacks it.", not lost)
    out_s = {node: _total_s(dns.get(f"Node/{node}", ()), picture) for node in observed}
    yield _by("chaosext_dns_outage_seconds", "Seconds of dead kube-dns on the node.", "node", out_s)
    unseen_s = {node: _total_s(picture.unseen(node), picture) for node in observed}
    yield _by("chaosext_unobserved_seconds", "Seconds in which the node was not observed.", "node", unseen_s)


def _is_unmeasured(picture: Picture, node: str) -> bool:
    """Whether its sentinel is heard but can't measure DNS."""
    return lasts(picture.unmeasured.get(Lane.DNS, {}).get(f"Node/{node}", ()))


def _lanes(picture: Picture) -> Iterator[Metric]:
    """What is known to be out; nothing for a lane that is not observed and in which nothing was out."""
    if picture.now_s is None:
        return
    lanes = {lane: picture.outages.get(lane, {}) for lane in Lane if _is_watched(picture, lane)}
    now = {lane.value: sum(map(lasts, found.values())) for lane, found in lanes.items()}
    yield _by("chaosext_out", "How many objects (nodes, Pods, targets) are known to be out now.", "lane", now)
    total_s = {
        lane.value: _total_s((window for each in found.values() for window in each), picture)
        for lane, found in lanes.items()
    }
    yield _by("chaosext_outage_seconds", "Seconds in which any object of the lane was out.", "lane", total_s)


def _is_watched(picture: Picture, lane: Lane) -> bool:
    if picture.outages.get(lane):
        return True
    if lane in picture.absent:
        return False
    if lane is Lane.KUBELET:  # without permission to watch Leases nothing is known of them
        return False
    if lane in FROM_THE_API_SERVER:
        return picture.is_api_server_heard and not picture.verdict
    if lane in FROM_THE_ENTRY:
        return False
    return any(_observed(picture).values())


def _gauge(name: str, help_: str, value: float) -> Metric:
    return GaugeMetricFamily(name, help_, value=value)


def _by(name: str, help_: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(name, help_, labels=[label])
    for each, value in values.items():
        family.add_metric([each], value)
    return family


def _total_s(windows: Iterable[Window], picture: Picture) -> float:
    now_s = picture.now_s or 0.0
    return sum((now_s if end_s is None else end_s) - start_s for start_s, end_s in united(windows))
