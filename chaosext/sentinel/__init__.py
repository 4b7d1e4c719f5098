"""The observer that runs on every node, in a Pod of its own: standard library and `chaosext.model` only."""
