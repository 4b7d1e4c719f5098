"""Pod reachability between nodes: the network that a snapshot shows, and a model of each supported network."""
