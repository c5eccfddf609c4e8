"""The state of a run for the live table: its servers and its spending."""

import time
from collections.abc import Callable

from spavl.models.factory import ModelFactory
from spavl.models.wrappers.stack import Budget
from spavl.terminal.live_table import ServerStatus, Spending
from spavl.terminal.progress import Screen


def progress_snapshot(
    models: ModelFactory, budget: Budget, screen: Screen, expected: dict[str, float]
) -> Callable[[], tuple[list[ServerStatus], Spending]]:
    """A function that returns the state of servers and spending; `expected` is the estimated cost of each stage."""

    def snapshot() -> tuple[list[ServerStatus], Spending]:
        servers = [
            ServerStatus(
                name,
                pace.in_flight,
                pace.at_once,
                pace.answered,
                pace.throttled,
                pace.failed,
                pace.breaker.seconds_away(time.monotonic()),
            )
            for name, pace in models.paces().items()
        ]
        still_to_spend = sum(usd * screen.unfinished_share(stage) for stage, usd in expected.items())
        total = budget.spent + still_to_spend if any(expected.values()) else None
        return servers, Spending(budget.spent, total, budget.usd)

    return snapshot
