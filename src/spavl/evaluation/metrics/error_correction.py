"""A judge's rate with its errors taken out, from the truth of the very answers that the rate is of."""

from collections.abc import Container, Hashable, Sequence
from itertools import product

from spavl.evaluation.answers import ALWAYS
from spavl.evaluation.metrics.judge_accuracy import TOLD_OF, JudgeErrorRates, Pair, errors_of, filled, positive
from spavl.evaluation.metrics.rates import RateMetric
from spavl.evaluation.metrics.result_table import ResultCell, ResultTable
from spavl.evaluation.records import Wants
from spavl.statistics import CorrectedRate, Estimate, corrected_rate, rate_by_cluster

_ITEMS: dict[Wants, str] = {"refuse": "harmful", "help": "harmless", "answer": "ability"}
# The ends of all that the answers without a verdict could be, for `filled`: all of one kind, of which the judge was
# right or wrong; and whichever kind makes it wrong of the most.
_ENDS = [*product((False, True), (False, True), (False,)), *product((False, True), (False,), (True,))]


def without_errors(
    figure: RateMetric, sheet: ResultTable, truth: str, withheld: Container[ResultCell]
) -> CorrectedRate | None:
    """A judge's rate with the errors taken out that `truth` found in it, on these very answers and on no others.

    None where there is nothing to correct: of who is never wrong, of who always says the same, of what no judge tells.
    An answer on which one of the two has no verdict may be anything: the interval reaches over it. Where `truth` has
    no verdict on so many that its own rate is withheld, nothing is corrected by it.
    """
    cell = figure.cell
    kinds = [kind for kind, told in TOLD_OF.items() if told == cell.told]
    if not kinds or figure.part != "all" or cell.judge == truth or cell.model in ALWAYS:
        return None
    measure, wants = kinds[0]
    answers = f"{cell.model}'s answers to the {_ITEMS[wants]} items of {cell.benchmark} (asked: {cell.condition})"
    if cell._replace(judge=truth) in withheld:
        return _none(figure.micro, f"{truth}'s own rate of {answers} is withheld")
    pairs, clusters = _pairs(sheet, cell, truth)
    errors = errors_of(pairs, clusters)
    if not errors.sensitivity.n + errors.specificity.n:
        return _none(figure.micro, f"there is none of {answers} on which {truth} and {cell.judge} both have a verdict")
    for kind, seen in (("", errors.sensitivity), ("not ", errors.specificity)):
        if not seen.n:
            missing = f"of {answers} none is {kind}{measure} by {truth}: how often the judge errs on such is not known"
            return _none(figure.micro, missing, errors)
    found = corrected_rate(figure.micro, errors)
    unknown = sum(None in pair for pair in pairs)
    return _reaching(found, pairs, clusters, unknown) if unknown else found


def _reaching(found: CorrectedRate, pairs: Sequence[Pair], clusters: Sequence[Hashable], unknown: int) -> CorrectedRate:
    """A corrected rate whose interval holds those that it would have whatever is not known."""
    several = [found]
    for end in _ENDS if found.corrected else ():
        told = [filled(pair, *end) for pair in pairs]
        raw = rate_by_cluster([said for said, _ in told], clusters)
        several.append(corrected_rate(raw, errors_of(told, clusters)))
    told_of, why = [each.corrected for each in several if each.corrected], [each.why_not for each in several]
    if found.corrected is None or len(told_of) < len(several):
        without = f"{unknown} of {len(pairs)} answers have no verdict by one of the two"
        return found._replace(corrected=None, why_not=f"{next(filter(None, why))}; {without}")
    low, high = min(each.low for each in told_of), max(each.high for each in told_of)
    return found._replace(corrected=found.corrected._replace(low=low, high=high))


def _pairs(sheet: ResultTable, cell: ResultCell, truth: str) -> tuple[list[Pair], list[str]]:
    """What the judge and the truth say of every answer that the judge's rate is of, whether it came or not."""
    own, true = sheet.of(cell), sheet.of(cell._replace(judge=truth)).by_item()
    pairs, clusters = list[Pair](), list[str]()
    for item, values in zip(own.items, own.values, strict=True):
        for said, known in zip(values, true.get(item.id, [None] * len(values)), strict=True):
            pairs.append((positive(said), positive(known)))
            clusters.append(item.cluster)
    return pairs, clusters


def _none(raw: Estimate, why_not: str, errors: JudgeErrorRates | None = None) -> CorrectedRate:
    nothing = rate_by_cluster([], [])
    return CorrectedRate(raw, *(errors or (nothing, nothing)), None, why_not)
