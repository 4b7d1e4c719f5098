"""Where a real `chaosext run` is tried: namespaces play the nodes, only the API server is a stub."""
