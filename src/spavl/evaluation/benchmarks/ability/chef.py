"""ChEF's six desiderata, as recipes over the benchmarks here.

ChEF (arXiv 2311.02692) measures six abilities of a model, each by a recipe over ScienceQA and MMBench, or POPE. Two of
them change how a question is asked, so they are benchmarks derived from others: any name with `+examples` or
`+numbers`, such as `scienceqa+examples`. The others are settings of an evaluation. RECIPES lists them, and where ours
differ from ChEF's.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from string import ascii_uppercase
from typing import NamedTuple

from spavl.errors import ConfigError
from spavl.evaluation.answer_matching.choice_reader import said_option
from spavl.evaluation.benchmarks.ability.formulas import match_ratio
from spavl.evaluation.benchmarks.ability.instructions import BY_LETTER, options_of
from spavl.evaluation.benchmarks.types import Benchmark, BenchmarkItem, Figures
from spavl.evaluation.records import Item
from spavl.statistics import Estimate

_EXAMPLES = 2
_OPTION = re.compile(r"^([A-Z])\. ", re.MULTILINE)


class Recipe(NamedTuple):
    desideratum: str
    # The options of `spavl eval`.
    ask: str
    # The metric that the evaluation then reports.
    figure: str
    # Where this differs from ChEF.
    differs: str


RECIPES = (
    Recipe(
        "calibration",
        "--suite scienceqa,mmbench --samples 10 --temperature 1",
        "calibration error",
        "confidence is the share of samples that agree; ChEF uses the likelihood of each option, which servers do "
        "not return",
    ),
    Recipe(
        "in-context learning",
        "--suite scienceqa,scienceqa+examples,mmbench,mmbench+examples",
        "in-context learning: accuracy gained by examples, relative to the room above chance",
        "examples are text only, chosen from the same set by hash; ChEF shows their images too",
    ),
    Recipe(
        "instruction following",
        "--suite scienceqa,scienceqa+numbers,mmbench,mmbench+numbers",
        "match ratio: share of answers that are one of the options",
        "options are numbered instead of lettered; ChEF has other labels as well",
    ),
    Recipe(
        "language performance",
        "--suite helpeval --judge MODEL --base NAME",
        "the win rate, both orders",
        "ChEF has GPT grade single answers to ScienceQA and MMBench; a comparison needs no scale",
    ),
    Recipe("hallucination", "--suite pope", "accuracy, precision, recall, F1, share of yes", "the same"),
    Recipe(
        "robustness",
        "--suite scienceqa,mmbench --conditions real,noise,blur,typos",
        "robustness: share of the accuracy above chance that remains under a condition",
        "ChEF has more corruptions of images and text, at several severities; here it is one severity of these three",
    ),
)


class _AskingMode(NamedTuple):
    """A change in how questions are asked."""

    change: Callable[[Sequence[BenchmarkItem]], Iterator[BenchmarkItem]]
    says: str
    figures: Figures | None = None


def derived_benchmark(benchmark: Benchmark, recipe: str) -> Benchmark:
    """A benchmark derived from another, with its questions asked in another way."""
    if recipe not in _WAYS:
        then = f"what may follow the + is {' or '.join(_WAYS)}"
        raise ConfigError(f"no benchmark is made of another by +{recipe}", where=benchmark.name, then=then)
    way = _WAYS[recipe]

    def read(folder: Path) -> Iterator[BenchmarkItem]:
        return way.change([found for found in benchmark.items(folder) if found.references])

    return benchmark._replace(
        name=f"{benchmark.name}+{recipe}",
        does=f"{benchmark.does}; {way.says}",
        read=read,
        shares=benchmark.folder,
        figures=way.figures or benchmark.figures,
    )


def sure_of(answers: Sequence[str], question: str) -> tuple[str, float] | None:
    """The option that most of a model's samples take, and the share that does; None if none can be read."""
    said = Counter(letter for answer in answers if (letter := said_option(answer, question)))
    return (said.most_common(1)[0][0], said.most_common(1)[0][1] / len(answers)) if said else None


def chance(question: str) -> float | None:
    """How often a random option would be right; None if there are no options."""
    options = options_of(question)
    return 1 / len(options) if options else None


def _with_examples(listed: Sequence[BenchmarkItem]) -> Iterator[BenchmarkItem]:
    """Prepends to each question others of its subset with their right answers, never of its own cluster."""
    ring = sorted(listed, key=lambda found: hashlib.sha256(f"{found.subset}/{found.key}".encode()).digest())
    places = {id(found): place for place, found in enumerate(ring)}
    for found in listed:
        place = places[id(found)]
        others = (ring[(place + step) % len(ring)] for step in range(1, len(ring)))
        fit = (each for each in others if each.subset == found.subset and not _hang_together(each, found))
        shown = [f"{each.question}\n{each.references[0]}" for each, _ in zip(fit, range(_EXAMPLES), strict=False)]
        yield found._replace(question="\n\n".join([*shown, found.question]))


def _hang_together(one: BenchmarkItem, other: BenchmarkItem) -> bool:
    return bool(one.cluster) and one.cluster == other.cluster


def _with_numbered_options(listed: Sequence[BenchmarkItem]) -> Iterator[BenchmarkItem]:
    """Numbers the options instead of lettering them. Questions without options are left out."""
    for found in listed:
        if options_of(found.question):
            number = str(ascii_uppercase.index(found.references[0]) + 1)
            question = _OPTION.sub(lambda letter: f"{ascii_uppercase.index(letter[1]) + 1}. ", found.question)
            question = question.replace(BY_LETTER, "Answer with the option's number from the given choices directly.")
            yield found._replace(question=question, references=(number,), scored_by=("match/numbered",))


def _match_ratio_figures(items: Sequence[Item], marks: Sequence[float | None]) -> dict[str, Estimate]:
    return {"match ratio": match_ratio(marks, [item.cluster for item in items])}


_WAYS = {
    "examples": _AskingMode(_with_examples, "two others with their answers are told first"),
    "numbers": _AskingMode(_with_numbered_options, "options are numbered in place of letters", _match_ratio_figures),
}
