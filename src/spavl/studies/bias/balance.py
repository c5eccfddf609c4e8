"""Balances shortcuts: keeps pairs so that what a shortcut sees favours neither the chosen nor the rejected answer.

A pair has a cell: which answer refuses, which is longer and by how much, and the first words of both. Its mirror cell
is that of the same pair turned round. Of each cell and its mirror the same number of pairs is kept, so any rule that
reads only these features is right in exactly half of the pairs that it decides. Pairs in which it sees no difference
are all kept.

The balanced set answers what is left to learn without the shortcuts. It is no better training set by itself: refusing
is often the very thing that makes an answer safe.
"""

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from typing import Literal, NamedTuple

from spavl.judges.refusal_regex import seems_refused
from spavl.records import Sample, content_hash
from spavl.studies.bias.features import first_word
from spavl.text.similarity import count_words

BalancedBy = Literal["refusal", "length", "first word", "responder"]
USUAL: tuple[BalancedBy, ...] = ("refusal", "length", "first word")
# From this ratio on, an answer is much longer.
_MUCH_LONGER = 1.5
# First words that are rarer than this many others count as one.
_FIRST_WORDS = 20


class BalancedPairs(NamedTuple):
    samples: tuple[Sample, ...]
    by: tuple[BalancedBy, ...]
    # The number of pairs there were.
    before: int
    # Kept pairs in which the balanced features differ; in the other kept pairs they do not.
    differing: int


# A cell, and the cell of the same pair with its answers swapped.
_Cell = tuple[Hashable, ...]


def balance_pairs(samples: Sequence[Sample], seed: int, by: Sequence[BalancedBy] = USUAL) -> BalancedPairs:
    """The kept pairs in their order. Which of several are kept depends on the seed and not on their order."""
    words = _common_first_words(samples) if "first word" in by else frozenset[str]()
    cells = [_cells(each, by, words) for each in samples]
    held = Counter(own for own, _ in cells)
    room = {own: min(held[own], held[mirror]) for own, mirror in cells}
    kept = set[int]()
    for place in sorted(range(len(samples)), key=lambda place: _rank(samples[place], seed)):
        own, _ = cells[place]
        if room[own]:
            room[own] -= 1
            kept.add(place)
    return BalancedPairs(
        samples=tuple(samples[place] for place in sorted(kept)),
        by=tuple(by),
        before=len(samples),
        differing=sum(cells[place][0] != cells[place][1] for place in kept),
    )


def random_subset(samples: Sequence[Sample], number: int, seed: int) -> list[Sample]:
    """So many pairs, for comparison with a balanced set: a smaller set alone makes probes weaker."""
    order = sorted(range(len(samples)), key=lambda place: _rank(samples[place], seed))
    return [samples[place] for place in sorted(order[:number])]


def _rank(sample: Sample, seed: int) -> str:
    """A random order of pairs, in which a pair keeps its place if its answers are swapped."""
    return content_hash([seed, sample.question_id, sample.question, *sorted((sample.chosen, sample.rejected))])


def _cells(sample: Sample, by: Sequence[BalancedBy], words: frozenset[str]) -> tuple[_Cell, _Cell]:
    one, other = (
        _of_answer(answer, model, by, words)
        for answer, model in ((sample.chosen, sample.chosen_model), (sample.rejected, sample.rejected_model))
    )
    gap = (_length_gap(sample.chosen, sample.rejected),) if "length" in by else ()
    return (one, other, *gap), (other, one, *(-each for each in gap))


def _of_answer(answer: str, model: str, by: Sequence[BalancedBy], words: frozenset[str]) -> _Cell:
    found: dict[BalancedBy, Hashable] = {}
    if "refusal" in by:
        found["refusal"] = seems_refused(answer)
    if "first word" in by:
        first = first_word(answer)
        found["first word"] = first if first in words else ""
    if "responder" in by:
        found["responder"] = model
    return tuple(found.values())


def _length_gap(chosen: str, rejected: str) -> int:
    """Which answer has more words: 1 the chosen one, 2 if by much, -1 and -2 the rejected one, 0 neither."""
    one, other = count_words(chosen), count_words(rejected)
    if one == other:
        return 0
    much = 2 if max(one, other) >= _MUCH_LONGER * max(1, min(one, other)) else 1
    return much if one > other else -much


def _common_first_words(samples: Iterable[Sample]) -> frozenset[str]:
    counted = Counter(first_word(answer) for each in samples for answer in (each.chosen, each.rejected))
    # Equally common words are ordered by the alphabet, so that the order of the pairs does not matter.
    ranked = sorted(counted, key=lambda word: (-counted[word], word))
    return frozenset(ranked[:_FIRST_WORDS])
