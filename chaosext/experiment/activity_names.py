"""chaosext's functions that experiments name, and that a verdict looks for in a journal."""

from __future__ import annotations

SEVER = "sever_control_plane"
HEAL = "heal_control_plane"
RESCHEDULE = "reschedule_kube_dns"
STEADY_STATE = "steady_state"
CUT_EFFECTIVE = "cut_effective"
KUBE_DNS_MOVED = "kube_dns_moved"
