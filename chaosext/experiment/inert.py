"""Stands in for the Python that an experiment names, while its form is checked."""


def anything(**arguments: object) -> None:
    """Takes whatever it is given, and does nothing."""
