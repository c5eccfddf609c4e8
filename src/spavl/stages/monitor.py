"""How a run stands, for the live table: its servers and its money."""

import time
from collections.abc import Callable

from spavl.models.factory import ModelFactory
from spavl.models.wrappers.stack import Budget
from spavl.terminal.live_table import ServerStatus, Spending
from spavl.terminal.progress import Screen


def progress_snapshot(
    models: ModelFactory, budget: Budget, screen: Screen, expected: dict[str, float]
) -> Callable[[], tuple[list[ServerStatus], Spending]]:
    """How servers and money stand, whenever the screen asks."""

    def look() -> tuple[list[ServerStatus], Spending]:
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
        rest = sum(usd * screen.left(stage) for stage, usd in expected.items())
        return servers, Spending(budget.spent, budget.spent + rest if any(expected.values()) else None, budget.usd)

    return look
