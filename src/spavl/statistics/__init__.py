"""Statistics of verdicts, as pure functions. No rate leaves spavl without its n and its interval."""

from spavl.statistics.agreement import gwet_ac1, kappa, krippendorff_alpha
from spavl.statistics.confusion import Confusion, Corrected, confusion, corrected_rate
from spavl.statistics.estimates import Estimate
from spavl.statistics.lengths import length_controlled
from spavl.statistics.paired import flip_test, holm, holm_within, mcnemar, paired_difference, sign_test
from spavl.statistics.power import Detectable, detectable_change, detectable_difference, mcnemar_power
from spavl.statistics.ranks import rank_correlation
from spavl.statistics.rates import (
    Averages,
    averages,
    clopper_pearson,
    difference,
    items_alone,
    mean_by_cluster,
    rate_by_cluster,
    rate_of_samples,
    rate_with_unknown,
    wilson,
    wilson_with_unknown,
)
from spavl.statistics.ratios import ratio_of_sums
from spavl.statistics.unknown import too_many_unknown

__all__ = [
    "Averages",
    "Confusion",
    "Corrected",
    "Detectable",
    "Estimate",
    "averages",
    "clopper_pearson",
    "confusion",
    "corrected_rate",
    "detectable_change",
    "detectable_difference",
    "difference",
    "flip_test",
    "gwet_ac1",
    "holm",
    "holm_within",
    "items_alone",
    "kappa",
    "krippendorff_alpha",
    "length_controlled",
    "mcnemar",
    "mcnemar_power",
    "mean_by_cluster",
    "paired_difference",
    "rank_correlation",
    "rate_by_cluster",
    "rate_of_samples",
    "rate_with_unknown",
    "ratio_of_sums",
    "sign_test",
    "too_many_unknown",
    "wilson",
    "wilson_with_unknown",
]
