"""The canaries under Inspect: each guard and judge is tested once, before it judges the first answer."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import get_args

from spavl.errors import ConfigError, GateError
from spavl.judges.canaries.checks import Canary, OnFailure, ask_canaries, failures_told, what_to_see_to

_LOG = logging.getLogger(__name__)


class CanaryGate:
    """Awaited before every judgement. The first await runs the canaries, because before it Inspect has no grader."""

    def __init__(self, canaries: Callable[[], Sequence[Canary]], on_failure: str) -> None:
        if on_failure not in get_args(OnFailure):
            what = f"canaries can be failed in two ways, and not {on_failure!r}"
            raise ConfigError(what, where="-T canaries", then=f"use one of: {', '.join(get_args(OnFailure))}")
        self._canaries, self._on_failure = canaries, on_failure
        self._asking, self._failures = asyncio.Lock(), list[str]()
        self._asked, self._then = False, ""

    async def canary_failures(self) -> list[str]:
        """The failures if the user chose "warn"; otherwise raises after a failure, so that nothing is judged."""
        async with self._asking:
            if not self._asked:
                words = await ask_canaries(self._canaries())
                self._failures, self._asked = failures_told(words), True
                weights = "see that the grader has the weights that you mean, or name another"
                self._then = f"{what_to_see_to(words, weights)}; or go on with -T canaries=warn"
                for failure in self._failures:
                    _LOG.warning(failure)
        if self._failures and self._on_failure == "stop":
            raise GateError("\n".join(self._failures), where="the grader", then=self._then)
        return self._failures
