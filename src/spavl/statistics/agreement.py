"""Agreement of judges beyond chance: kappa, alpha, AC1.

Every measure here is 1 - (observed disagreement / disagreement by chance); they differ in how they model
chance. Kappa is the best known, alpha allows missing ratings and any number of raters, and AC1 stays valid
if nearly all items have the same label, where kappa is low although raters agree.
"""

import math
from collections import Counter
from collections.abc import Collection, Hashable, Sequence

from spavl.statistics.estimates import Estimate
from spavl.statistics.laws import reach95
from spavl.statistics.rates import wilson_bounds

# The label of one item by each rater; None if a rater gave none.
Ratings = Sequence[Hashable | None]


def kappa(says: Sequence[tuple[Hashable, Hashable]], clusters: Sequence[Hashable]) -> Estimate:
    """Cohen's kappa of two judges. Its interval is by jackknife over whole clusters."""
    groups: dict[Hashable, Counter[tuple[Hashable, Hashable]]] = {}
    for said, cluster in zip(says, clusters, strict=True):
        groups.setdefault(cluster, Counter())[said] += 1
    every = Counter(says)
    agreed, chance = _agreement(every)
    left = [_agreement(every - group) for group in groups.values()]
    return _estimate(agreed, chance, left, len(says))


def _agreement(table: Counter[tuple[Hashable, Hashable]]) -> tuple[float, float]:
    """The observed agreement, and the agreement expected by chance."""
    n = table.total()
    if not n:
        return math.nan, 1.0
    ones: Counter[Hashable] = Counter()
    others: Counter[Hashable] = Counter()
    for (one, other), number in table.items():
        ones[one] += number
        others[other] += number
    agreed = sum(number for (one, other), number in table.items() if one == other)
    return agreed / n, sum(ones[name] * others[name] for name in ones) / n**2


def gwet_ac1(units: Sequence[Ratings], labels: Collection[Hashable], clusters: Sequence[Hashable]) -> Estimate:
    """Gwet's AC1 for any number of raters; ratings may be missing. `labels` are all possible labels.

    Its interval is by jackknife over whole clusters.
    """
    order = list(labels)
    groups: dict[Hashable, list[float]] = {}
    for unit, cluster in zip(units, clusters, strict=True):
        parts = _ac1_parts(unit, order)
        own = groups.setdefault(cluster, [0.0] * len(parts))
        groups[cluster] = [one + other for one, other in zip(own, parts, strict=True)]
    every = [sum(column) for column in zip(*groups.values(), strict=True)]
    agreed, chance = _ac1_agreement(every)
    left = [_ac1_agreement([a - b for a, b in zip(every, group, strict=True)]) for group in groups.values()]
    return _estimate(agreed, chance, left, len(units))


def _ac1_parts(unit: Ratings, labels: Sequence[Hashable]) -> list[float]:
    """The share of rater pairs that agree, whether there are pairs, whether there are ratings, the share per label."""
    counts = Counter(label for label in unit if label is not None)
    if strange := counts.keys() - set(labels):
        raise ValueError(f"not among the labels: {strange}")
    said = counts.total()
    pairs = said * (said - 1)
    agreed = sum(number * (number - 1) for number in counts.values()) / pairs if pairs else 0.0
    return [agreed, float(pairs > 0), float(said > 0), *(counts[label] / said if said else 0.0 for label in labels)]


def _ac1_agreement(sums: Sequence[float]) -> tuple[float, float]:
    if len(sums) < 5 or sums[1] < 0.5:
        return math.nan, 1.0
    agreed, pairs, said, *shares = sums
    chance = sum(share / said * (1 - share / said) for share in shares) / (len(shares) - 1)
    return agreed / pairs, chance


def _estimate(agreed: float, chance: float, left: Sequence[tuple[float, float]], n: int) -> Estimate:
    """Chance-corrected agreement with its interval; `left` has the (agreed, chance) without each cluster.

    If leaving out a cluster changes nothing, as in perfect agreement, the jackknife has no width.
    Then the interval is Wilson's for the agreement over the clusters, at the same chance.
    """
    if math.isnan(agreed) or chance == 1:
        return Estimate(math.nan, n, -1.0, 1.0)
    k, value = len(left), (agreed - chance) / (1 - chance)
    values = [(own - luck) / (1 - luck) for own, luck in left if luck < 1]
    middle = sum(values) / len(values) if values else value
    spread = math.sqrt((k - 1) / k * sum((own - middle) ** 2 for own in values))
    if spread > 1e-12:
        # Disagreement is positive and unbounded, so its interval is symmetric on a log scale.
        reach = math.exp(reach95(k) * spread / (1 - value))
        return Estimate(value, n, max(-1.0, 1 - (1 - value) * reach), 1 - (1 - value) / reach)
    low, high = (max(-1.0, (bound - chance) / (1 - chance)) for bound in wilson_bounds(agreed, k))
    return Estimate(value, n, low, high)


def krippendorff_alpha(units: Sequence[Ratings], clusters: Sequence[Hashable]) -> Estimate:
    """Krippendorff's alpha for nominal labels and any number of raters; ratings may be missing.

    Its interval is by jackknife over whole clusters. `n` counts the items with two or more ratings.
    """
    labels = sorted({label for unit in units for label in unit if label is not None}, key=repr)
    groups: dict[Hashable, list[float]] = {}
    labelled = 0
    for unit, cluster in zip(units, clusters, strict=True):
        counts = Counter(label for label in unit if label is not None)
        said = counts.total()
        if said < 2:
            continue
        labelled += 1
        apart = (said**2 - sum(number**2 for number in counts.values())) / (said - 1)
        own = groups.setdefault(cluster, [0.0] * (1 + len(labels)))
        groups[cluster] = [
            one + other for one, other in zip(own, [apart, *(counts[label] for label in labels)], strict=True)
        ]
    every = [sum(column) for column in zip(*groups.values(), strict=True)]
    agreed, chance = _alpha_agreement(every)
    left = [_alpha_agreement([a - b for a, b in zip(every, group, strict=True)]) for group in groups.values()]
    return _estimate(agreed, chance, left, labelled)


def _alpha_agreement(sums: Sequence[float]) -> tuple[float, float]:
    """As `_agreement`, but chance draws two of all given labels without replacement."""
    apart, *counts = sums or (0.0,)
    whole = sum(counts)
    if whole < 2:
        return math.nan, 1.0
    return 1 - apart / whole, 1 - (whole**2 - sum(count * count for count in counts)) / (whole * (whole - 1))
