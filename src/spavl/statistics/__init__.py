"""Statistics of verdicts as pure functions: every rate with its n and its interval."""

from spavl.statistics.agreement import gwet_ac1, kappa, krippendorff_alpha
from spavl.statistics.confusion import Confusion, CorrectedRate, confusion, corrected_rate
from spavl.statistics.estimates import Estimate
from spavl.statistics.lengths import length_controlled
from spavl.statistics.paired import (
    ALPHA,
    PairedTest,
    flip_test,
    holm,
    holm_within,
    least_p,
    mcnemar,
    paired_difference,
    paired_p,
    paired_test,
    sign_test,
    stand_alone,
    win_p,
    win_rate,
)
from spavl.statistics.power import (
    DetectableChange,
    detectable_change,
    detectable_difference,
    independent_items,
    mcnemar_power,
)
from spavl.statistics.ranks import rank_correlation
from spavl.statistics.rates import (
    MicroMacro,
    averages,
    clopper_pearson,
    difference,
    macro_of_samples,
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
    "ALPHA",
    "Confusion",
    "CorrectedRate",
    "DetectableChange",
    "Estimate",
    "MicroMacro",
    "PairedTest",
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
    "independent_items",
    "kappa",
    "krippendorff_alpha",
    "least_p",
    "length_controlled",
    "macro_of_samples",
    "mcnemar",
    "mcnemar_power",
    "mean_by_cluster",
    "paired_difference",
    "paired_p",
    "paired_test",
    "rank_correlation",
    "rate_by_cluster",
    "rate_of_samples",
    "rate_with_unknown",
    "ratio_of_sums",
    "sign_test",
    "stand_alone",
    "too_many_unknown",
    "wilson",
    "wilson_with_unknown",
    "win_p",
    "win_rate",
]
