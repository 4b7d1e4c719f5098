"""Image bundles for the testbed, built from Go modules, Debian's packages and PyPI: `python -m hack.images build`."""
