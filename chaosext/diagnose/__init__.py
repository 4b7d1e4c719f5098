"""What is broken in a cluster, why, and what fixes it: from the API, from nodes, or from a recording. Read-only."""
