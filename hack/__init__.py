"""What builds the testbed's image bundles, and installs a Docker Engine for it. Run by make; not in the wheel."""
