"""Who reaches whose Pods: what a snapshot shows of its network, and a model of each network that is known here."""
