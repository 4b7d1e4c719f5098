"""chaosext: live through a network cutover before it is real.

Custom Chaos Toolkit actions and probes that sever a Kubernetes control plane from its nodes, assert the
steady state (DNS resolvable, xDS synced, probes healthy) and verify the rollback by rescheduling kube-dns.
"""

__version__ = "0.1.0"
