"""The network that carries Pod traffic, recognised from a snapshot: one module for each family of networks."""
