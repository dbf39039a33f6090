"""Makes the modules beside this file, ``engines``, importable in every folder of tests."""

from hypothesis import HealthCheck, settings

# The same examples each time, and none of them fails because the machine is busy.
settings.register_profile(
    "daqplane",
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("daqplane")
