"""How long fuzzing takes: some seconds among the other tests, an hour or so with ``make fuzz``."""

from hypothesis import HealthCheck, settings

settings.register_profile("long", max_examples=5_000, deadline=None, suppress_health_check=list(HealthCheck))
