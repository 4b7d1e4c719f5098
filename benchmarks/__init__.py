"""Benchmarks on the real testbed. Each prints its figure beside a baseline that was measured in the same run."""
