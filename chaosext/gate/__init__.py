"""The pre-cutover gate: decides go or no-go for a plan on a cluster, with reasons and the patches that would help."""
