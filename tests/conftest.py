"""What holds for all tests."""

from hypothesis import HealthCheck, settings

# How long an example takes is a matter of what else the machine does: no test may fail for that.
settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any machine")
