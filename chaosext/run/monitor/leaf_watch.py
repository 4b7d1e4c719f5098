"""Watches the leaf during a run: its sessions, and its routes to kube-dns. Needs no API server."""

from __future__ import annotations

import json
import time
from ipaddress import ip_address
from typing import TYPE_CHECKING

from chaosext.checks import dns_resolvable
from chaosext.model.errors import ChaosextError, Unreachable
from chaosext.nodes.frr import leads_there, parse_summary
from chaosext.run.monitor.sentinel_plan import pod_on
from chaosext.timeline.leaf_events import SOURCE, LeafLook, LeafView

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterable, Mapping

    from chaosext.cluster.objects import Endpoint
    from chaosext.nodes.shell import NodeShell
    from chaosext.run.monitor.object_events_watch import ObjectWatch
    from chaosext.timeline.recorder import Recorder

EVERY_S = 2.0
RETRY_S = 3.0

Asked = tuple["Endpoint", ...]


class LeafWatch:
    """One process on the leaf, which prints a line every `EVERY_S`; a new one when kube-dns has moved."""

    def __init__(self, shell: NodeShell, objects: ObjectWatch, recorder: Recorder) -> None:
        self._shell, self._objects, self._recorder = shell, objects, recorder
        self._view = LeafView(shell.node)

    def watch(self, stop: threading.Event) -> None:
        """Watch until `stop` is set; reports once that the leaf can't be entered, or is not a leaf."""
        while not stop.is_set():
            try:
                self._follow(stop)
            except (ChaosextError, ValueError) as error:
                at_s = time.monotonic()
                if stop.wait(RETRY_S):  # a run that ends stops its processes on nodes: not an event
                    return
                for note in self._view.blind(str(error)):
                    self._recorder.note(note, SOURCE, at_s=at_s)

    def _follow(self, stop: threading.Event) -> None:
        asked = self._endpoints()
        with self._shell.stream(script(asked)) as lines:
            for line in lines:
                for note in self._view.take(read_look(line, asked, self._objects.node_of)):
                    self._recorder.note(note, SOURCE)
                if stop.is_set() or self._endpoints() != asked:
                    return
        raise Unreachable(f"the output of {self._shell.node} ended")

    def _endpoints(self) -> Asked:
        return tuple(dns_resolvable.backing(self._objects.dns_endpoints))


def script(endpoints: Iterable[Endpoint]) -> str:
    """bash for `NodeShell.stream`: each line holds FRR's answers, one JSON value after the other.

    Ends with its stdin. Raises `ValueError` for an endpoint with an invalid address.
    """
    questions = ["show bgp summary json", *map(_route_to, endpoints)]
    words = " ".join(f"-c '{question}'" for question in questions)
    return f"""
while :; do
  timeout 4 vtysh {words} | tr -d '\\n'; echo
  IFS= read -r -t {EVERY_S:g} _
  (( $? > 128 )) || break
done
"""


def read_look(line: str, endpoints: Asked, node_of: Mapping[str, str]) -> LeafLook:
    """Parse one line. `node_of`: address -> node. Raises `ValueError` for a line that isn't FRR's."""
    answers = list(_values(line))
    if len(answers) != 1 + len(endpoints):
        raise ValueError(f"FRR does not answer: {line[:80]!r}")
    sessions = {
        f"{node_of.get(each.ip, '')} {each.ip}".strip(): "" if each.established else each.state
        for each in parse_summary(answers[0])
    }
    routes = {
        f"{pod_on(each)} {each.ip}": leads_there(said)
        for each, said in zip(endpoints, answers[1:], strict=True)
    }
    return LeafLook(sessions=sessions, routes=routes)


def _route_to(endpoint: Endpoint) -> str:
    address = ip_address(endpoint.ip)
    return f"show {'ip' if address.version == 4 else 'ipv6'} route {address} json"


def _values(line: str) -> Iterable[str]:
    """The texts of the JSON values in a line, one after the other."""
    decoder, at = json.JSONDecoder(), 0
    while at < len(line):
        _, end = decoder.raw_decode(line, at)
        yield line[at:end]
        at = end + len(line[end:]) - len(line[end:].lstrip())
