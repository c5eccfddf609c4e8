"""ChEF's six desiderata, as recipes over the benchmarks here.

ChEF (arXiv 2311.02692) asks six things of a model, each by a recipe over ScienceQA and MMBench, or
POPE. Two of them change how a question is put, so they are benchmarks made of others: any name with
`+examples` or `+numbers`, such as `scienceqa+examples`. The others are settings of an exam and
figures of its marks; RECIPES says which, and where ours is not theirs.
"""

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from string import ascii_uppercase
from typing import NamedTuple

from spavl.benchmarks.options import BY_LETTER, options_of
from spavl.benchmarks.types import Benchmark, Found
from spavl.errors import ConfigError

_EXAMPLES = 2
_OPTION = re.compile(r"^([A-Z])\. ", re.MULTILINE)


class Recipe(NamedTuple):
    desideratum: str
    # What to ask, as one types it.
    ask: str
    # The function of figures.py that makes the figure, or where it is seen.
    figure: str
    # Where this differs from what ChEF does.
    differs: str


RECIPES = (
    Recipe(
        "calibration",
        "--suite scienceqa,mmbench --samples 10 --temperature 1",
        "calibration_error, with the share of samples that agree as confidence",
        "ChEF takes the likelihood of each option, which servers do not tell",
    ),
    Recipe(
        "in-context learning",
        "--suite scienceqa,scienceqa+examples,mmbench,mmbench+examples",
        "gain_above_chance",
        "examples are words alone, drawn from the same set by hash; ChEF shows their pictures too",
    ),
    Recipe(
        "instruction following",
        "--suite scienceqa,scienceqa+numbers,mmbench,mmbench+numbers",
        "match_ratio",
        "options are numbered in place of letters; ChEF has other signs as well",
    ),
    Recipe(
        "language performance",
        "--suite scienceqa --judge MODEL --base NAME",
        "the helpfulness of `duel`, both orders",
        "ChEF has GPT grade one answer at a time; a comparison needs no scale",
    ),
    Recipe("hallucination", "--suite pope", "yes_no", "the same"),
    Recipe(
        "robustness",
        "--suite scienceqa,mmbench --conditions real,first_word,paraphrase,blank",
        "above_chance, of each condition",
        "ChEF damages pictures and words by degrees; an exam's conditions change them in these ways and no others",
    ),
)


def prepared(benchmark: Benchmark, recipe: str) -> Benchmark:
    """A benchmark made of another, its questions put in another way."""
    if recipe not in _WAYS:
        then = f"what may follow the + is {' or '.join(_WAYS)}"
        raise ConfigError(f"no benchmark is made of another by +{recipe}", where=benchmark.name, then=then)
    change, says = _WAYS[recipe]

    def read(folder: Path) -> Iterator[Found]:
        return change([found for found in benchmark.read(folder) if found.references])

    return benchmark._replace(
        name=f"{benchmark.name}+{recipe}", does=f"{benchmark.does}; {says}", read=read, shares=benchmark.folder
    )


def _with_examples(listed: Sequence[Found]) -> Iterator[Found]:
    """Before each question others of its subset with their right answers, never of its own cluster."""
    ring = sorted(listed, key=lambda found: hashlib.sha256(f"{found.subset}/{found.key}".encode()).digest())
    places = {id(found): place for place, found in enumerate(ring)}
    for found in listed:
        place = places[id(found)]
        others = (ring[(place + step) % len(ring)] for step in range(1, len(ring)))
        fit = (each for each in others if each.subset == found.subset and not _hang_together(each, found))
        shown = [f"{each.question}\n{each.references[0]}" for each, _ in zip(fit, range(_EXAMPLES), strict=False)]
        yield found._replace(question="\n\n".join([*shown, found.question]))


def _hang_together(one: Found, other: Found) -> bool:
    return bool(one.cluster) and one.cluster == other.cluster


def _numbered(listed: Sequence[Found]) -> Iterator[Found]:
    """Options by number where they had letters; questions that are no multiple choice are left out."""
    for found in listed:
        if options_of(found.question):
            number = str(ascii_uppercase.index(found.references[0]) + 1)
            question = _OPTION.sub(lambda letter: f"{ascii_uppercase.index(letter[1]) + 1}. ", found.question)
            question = question.replace(BY_LETTER, "Answer with the option's number from the given choices directly.")
            yield found._replace(question=question, references=(number,), scored_by=("match/numbered",))


_WAYS: dict[str, tuple[Callable[[Sequence[Found]], Iterator[Found]], str]] = {
    "examples": (_with_examples, "two others with their answers are told first"),
    "numbers": (_numbered, "options are numbered in place of letters"),
}
