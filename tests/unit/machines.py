"""How long state machines are run: to hold a property, and to catch a planted bug."""

from hypothesis import HealthCheck, Phase, settings

SETTINGS = settings(
    max_examples=150,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
HUNT = settings(
    SETTINGS,
    max_examples=2000,
    derandomize=True,
    database=None,
    phases=[Phase.generate],  # one counterexample is proof enough, it need not be small
    report_multiple_bugs=False,
)
