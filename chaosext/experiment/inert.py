"""Stands in for the Python functions that an experiment names, while its form is checked."""


def anything(**arguments: object) -> None:
    """Accept any arguments, and do nothing."""
