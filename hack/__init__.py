"""What builds the testbed's image bundles. Run by make; not in the wheel."""
