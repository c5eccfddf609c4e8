"""Strategies that choose which two answers to a question form a pair. Each is a pure function of the answers."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import combinations
from typing import Literal, NamedTuple

from spavl.errors import ConfigError
from spavl.records import Label

Strategy = Literal[
    "two_tiers",
    "largest_contrast",
    "random",
    "safe_safe",
    "bag_safe",
    "bag_relatively_safe",
    "bag_unsafe",
    "bag_all",
]


class TieredAnswer(NamedTuple):
    """What a strategy uses of an answer. `bags` are the bags that its responder is in."""

    response_id: str
    model: str
    label: Label
    tier: int
    bags: frozenset[str]
    # Its text if answers with equal texts count as one, as among several samples; None if each answer counts.
    text: str | None = None

    @property
    def key(self) -> str:
        """Equal for answers that count as one."""
        return self.response_id if self.text is None else self.text


Two = tuple[TieredAnswer, TieredAnswer]


def check_strategies(strategies: Collection[Strategy], responders: int) -> None:
    """Raise ConfigError if no strategy can form a pair, because one responder is on one tier."""
    if responders == 1 and set(strategies) <= _BETWEEN_TIERS:
        then = "name one that pairs answers of one responder, such as --pairs.strategy random"
        what = f"{' and '.join(strategies)} needs responders on different tiers, and there is one responder"
        raise ConfigError(what, where="pairs.strategy", then=then)


def allowed_pairs(strategy: Strategy, answers: Sequence[TieredAnswer]) -> list[Two]:
    """Every pair of different answers that the strategy allows; of pairs with equal texts, the first."""
    pairs = [(one, other) for one, other in combinations(answers, 2) if one.key != other.key]
    distinct: dict[frozenset[str], Two] = {}
    for two in STRATEGIES[strategy](pairs):
        distinct.setdefault(key_of_pair(two), two)
    return list(distinct.values())


def key_of_pair(two: Two) -> frozenset[str]:
    """Equal for pairs of the same two answers, in whatever order."""
    return frozenset((two[0].key, two[1].key))


def _two_tiers(pairs: Sequence[Two]) -> list[Two]:
    """The paper's strategy: responders from different tiers of safety."""
    return [(one, other) for one, other in pairs if one.tier != other.tier]


def _largest_contrast(pairs: Sequence[Two]) -> list[Two]:
    """Pairs whose responders are as many tiers apart as any of this question's, and at least one tier."""
    widest = max((_distance(pair) for pair in pairs), default=0)
    return [pair for pair in pairs if _distance(pair) == widest > 0]


def _safe_safe(pairs: Sequence[Two]) -> list[Two]:
    """Two answers that the guard found safe: they can differ only in helpfulness."""
    return [(one, other) for one, other in pairs if one.label == other.label == "safe"]


def _in_bag(bag: str) -> Callable[[Sequence[Two]], list[Two]]:
    """The paper's ablation: both responders from one bag."""
    return lambda pairs: [(one, other) for one, other in pairs if bag in one.bags & other.bags]


def _distance(pair: Two) -> int:
    return abs(pair[0].tier - pair[1].tier)


STRATEGIES: Mapping[Strategy, Callable[[Sequence[Two]], list[Two]]] = {
    "two_tiers": _two_tiers,
    "largest_contrast": _largest_contrast,
    "random": list,
    "safe_safe": _safe_safe,
    "bag_safe": _in_bag("safe"),
    "bag_relatively_safe": _in_bag("relatively safe"),
    "bag_unsafe": _in_bag("unsafe"),
    "bag_all": list,
}

# The strategies that never pair two answers of one responder.
_BETWEEN_TIERS: frozenset[Strategy] = frozenset({"two_tiers", "largest_contrast"})

# The paper's bags for its own twelve responders; LAMM and MiniGPT-4 are in no bag but "all".
_PAPERS_SAFE = ("InternLMXComposer", "QwenVL", "gemini")
_PAPERS_BAGS = {
    "safe": _PAPERS_SAFE,
    "relatively safe": (*_PAPERS_SAFE, "LAMM_SFT", "LLaVA1.5"),
    "unsafe": ("mPLUG-Owl", "Otter", "InstructBLIP", "LLaMA-Adapter-v2", "gemini_jb"),
}
_PAPERS_POOL = {*_PAPERS_BAGS["relatively safe"], *_PAPERS_BAGS["unsafe"], "LAMM", "MiniGPT-4"}
# The bags of any other pool, by the measured tiers of its responders.
_TIERS_OF_BAGS = {"safe": (1,), "relatively safe": (1, 2), "unsafe": (4, 5)}


def bags_of(tiers: Mapping[str, int]) -> dict[str, frozenset[str]]:
    """The bags of each responder: the paper's own for its pool, and measured ones for any other."""
    if tiers.keys() <= _PAPERS_POOL:
        return {model: _holding(model, _PAPERS_BAGS) for model in tiers}
    return {model: _holding(tier, _TIERS_OF_BAGS) for model, tier in tiers.items()}


def _holding(member: str | int, bags: Mapping[str, Iterable[str | int]]) -> frozenset[str]:
    return frozenset(name for name, members in bags.items() if member in members)
