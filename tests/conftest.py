"""Hypothesis on crowded machines: time is no property that is tested here."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "chaosext", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("chaosext")
