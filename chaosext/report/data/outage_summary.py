"""The outages of a run in words, lane by lane: what, on how many objects, for how long at most. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chaosext.model.result import Lane, length_s
from chaosext.report.units import count, duration, listed, names, window
from chaosext.timeline.outages import lasts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from chaosext.model.result import Window
    from chaosext.report.data.account import Account

FELT = (Lane.CUSTOMERS, Lane.DNS, Lane.XDS, Lane.PROBES)
"""The lanes whose outages users feel; the others are causes, or the control plane's view."""

LOST = {
    Lane.CUSTOMERS: "customers' requests failed at {}",
    Lane.DNS: "DNS failed on {}",
    Lane.DNS_KEPT_SOCKET: "open UDP sockets got no DNS answers on {}",
    Lane.DNS_TCP: "DNS over TCP failed on {}",
    Lane.XDS: "{} had no configuration (xDS)",
    Lane.SIDECAR_READY: "sidecars reported not ready: {}",
    Lane.PROBES: "kubelet probes failed on {}",
    Lane.TARGETS: "connections failed from {}",
    Lane.BGP: "BGP sessions were lost on {}",
    Lane.ROUTES: "routes were lost on {}",
    Lane.PODS: "Pods on other nodes did not answer {}",
}
"""The sentence for an outage in a lane. NotReady nodes are the purpose of a cut, so they are left out."""

SHORT = {
    Lane.CUSTOMERS: "Customers",
    Lane.DNS: "DNS",
    Lane.XDS: "Mesh configuration (xDS)",
    Lane.PROBES: "Probes",
}

FEW = 3
"""Maximum number of Pods to name; more are counted by namespace, as their names say little."""


@dataclass(frozen=True, slots=True)
class LaneOutages:
    """The outages of one lane in a run: object -> its windows."""

    lane: Lane
    objects: Mapping[str, tuple[Window, ...]]
    account: Account

    @property
    def text(self) -> str:
        """`DNS failed on 2 of 3 nodes`."""
        return LOST[self.lane].format(self._where())

    @property
    def longest_s(self) -> float:
        return length_s(self._longest()[1], self.account.end_s)

    @property
    def ending(self) -> str:
        """What was not back when the run ended; "" for nothing."""
        lasting = [found for found in self._felt().values() if lasts(found)]
        some = f"{len(lasting)} " if len(lasting) < len(self._felt()) else ""
        return f"{some}not back when the run ended" if lasting else ""

    @property
    def how_long(self) -> str:
        """`1m22.2s`; `up to 1m22.2s` if others were shorter; `at least 1m22.2s` if some still last."""
        end_s = self.account.end_s
        lengths = {duration(length_s(each, end_s)) for found in self._felt().values() for each in found}
        bound = "at least " if self.ending else "up to " if len(lengths) > 1 else ""
        return f"{bound}{duration(self.longest_s)}"

    @property
    def worst(self) -> str:
        """`up to 1m22.2s (worker, 55s to 2m17.2s after the cut)`."""
        name, longest = self._longest()
        over = f"; {self.ending}" if self.ending else ""
        return f"{self.how_long} ({names([name])}, {window(longest)} after the cut{over})"

    @property
    def whom(self) -> str:
        """The objects by name; more than `FEW` Pods as a count per namespace."""
        pods = Counter(name.split("/")[1] for name in self._pods())
        if pods.total() <= FEW:
            return names(self._felt())
        return listed(f"{many} Pod{'s' * (many > 1)} in {namespace}" for namespace, many in pods.items())

    def _felt(self) -> Mapping[str, tuple[Window, ...]]:
        """Return the outages of Pods if there are any, as users feel those; else of all objects."""
        return {name: self.objects[name] for name in self._pods() or self.objects}

    def _where(self) -> str:
        if self.lane is Lane.XDS:
            return f"sidecars of {count(self._pods())}" if self._pods() else "sidecars"
        places = {name.partition(" → ")[0] for name in self.objects}
        return self._share(places) if all(name.startswith("Node/") for name in places) else count(places)

    def _share(self, nodes: set[str]) -> str:
        """`2 of 3 nodes`."""
        known = len(self.account.nodes)
        if len(nodes) < known:
            return f"{len(nodes)} of {known} nodes"
        return f"all {known} nodes" if known > 1 else count(nodes)

    def _pods(self) -> tuple[str, ...]:
        return tuple(name for name in self.objects if name.startswith("Pod/"))

    def _longest(self) -> tuple[str, Window]:
        """The longest window of any object."""
        windows = ((name, each) for name, found in self._felt().items() for each in found)
        return max(windows, key=lambda each: length_s(each[1], self.account.end_s))


def losses(account: Account) -> tuple[LaneOutages, ...]:
    """One for each lane with an outage, in the order of LOST."""
    found = account.result.outages
    return tuple(LaneOutages(lane, found[lane], account) for lane in LOST if found.get(lane))
