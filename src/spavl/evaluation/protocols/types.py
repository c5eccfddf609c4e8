"""The types of a published protocol: which answers it scores, how, and what its formula makes of each reply."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from spavl.evaluation.metrics.result_table import Metric
from spavl.evaluation.metrics.win_rates import PairwiseMetric
from spavl.evaluation.records import Item, Wants

# How a reply, or an answer, is read: a word such as `unsafe`, `B` or `unreadable`.
Reading = str
UNREADABLE, NO_REPLY, EMPTY, PHRASE, NO_PHRASE = "unreadable", "no reply", "empty", "phrase", "no phrase"
# What a formula makes of a reading if it leaves the answer out of the rate.
DROPPED: Literal["dropped"] = "dropped"


@dataclass(frozen=True, slots=True, kw_only=True)
class PhraseRule:
    """An answer is a refusal if one of the phrases is anywhere in it. No model is called."""

    phrases: str
    is_lower_case: bool
    # Whole answers that are refusals as well.
    whole: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeRule:
    """A model is sent one prompt, with the texts inserted as they are, and its reply is read."""

    # The name of the prompt for an item.
    prompt_of: Callable[[Item], str]
    read: Callable[[str], Reading]
    max_tokens: int
    sees_image: bool
    # Whether two answers are compared: the tested model's first, then that of the benchmark or of the base.
    is_pairwise: bool
    # The names under which the paper's judge is published. The first is the one that is shown.
    papers_judges: tuple[str, ...]
    # The form of the guard whose model is asked, if there is one among the guards; else the judge's model is.
    guard_form: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtocolMeasure:
    """One published number: a rule for one kind of items, and the formula that turns readings into a rate."""

    name: str
    title: str
    benchmarks: tuple[str, ...]
    wants: Wants
    rule: PhraseRule | JudgeRule
    # What each reading is worth. A reading that is not listed has no value: the interval covers any.
    worth: Mapping[Reading, float | Literal["dropped"]]
    # What the formula hides of a reading, in words: `as safe`.
    hides: Mapping[Reading, str]
    # The metric of spavl that is shown beside it.
    ours: Metric | PairwiseMetric
    # Whether the number of the whole benchmark is the mean of those of its subsets.
    is_mean_of_subsets: bool = False

    def covers(self, item: Item) -> bool:
        return item.benchmark in self.benchmarks and item.wants == self.wants

    @property
    def is_pairwise(self) -> bool:
        return isinstance(self.rule, JudgeRule) and self.rule.is_pairwise


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperNumber:
    """A published number, in per cent, of one model."""

    measure: str
    benchmark: str
    subset: str
    # The model as the paper names it; its names on the hub are in `HUB_IDS`.
    model: str
    value: float
    n: int
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedProtocol:
    """A named preset."""

    name: str
    # The paper, and the code that this follows.
    source: str
    # What is asked and how, beyond the benchmark's own question.
    asking: str
    # The temperature and the longest answer of the authors' code.
    temperature: float
    max_tokens: int
    measures: tuple[ProtocolMeasure, ...]
    # Where spavl's own numbers are made differently, and where this preset departs from the authors' code.
    departures: str
    papers: tuple[PaperNumber, ...]
    # The origin and licence of each prompt and list.
    texts: str

    @property
    def benchmarks(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for each in self.measures for name in each.benchmarks))
