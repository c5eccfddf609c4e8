"""Maximum likelihood of the dose-response forms for every draw of a bootstrap: ours against scipy's L-BFGS-B.

A study of 7 sizes, 3 seeds and 200 items. scipy fits one draw after the other, from the same start as ours, with the
same likelihood, bounds and derivatives. Both must reach the same deviance; where scipy stops short of ours it is
counted. Seconds are those of the processor.

    python -m benchmarks.dose_response [--draws 200]
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable

import numpy as np
import scipy
from scipy.optimize import minimize

from spavl.statistics.dose_response.fit import fit_curves, saturated_log_likelihood
from spavl.statistics.dose_response.forms import LOGISTIC, Grid, SizeRange, rates_and_slopes, rates_of

ROUNDS = 5
SIZES = np.array([0, 100, 1_000, 5_000, 10_000, 30_000, 90_000], dtype=float)
OVER = SizeRange(SIZES, SIZES[1], SIZES[-1])
ITEMS = np.full(len(SIZES), 600.0)
TRUTH = np.array([0.44, 0.02, np.log(3000), np.log(1.5)])


def new_draws(number: int) -> Grid:
    rates = rates_of(LOGISTIC, TRUTH[None], SIZES, OVER)[0]
    return np.random.default_rng(0).binomial(ITEMS.astype(int), rates, (number, len(SIZES))).astype(float)


def ours(hits: Grid) -> Grid:
    return fit_curves(LOGISTIC, OVER, hits, ITEMS, tried=1, start=TRUTH).deviance


def theirs(hits: Grid) -> Grid:
    bounds = list(zip(*LOGISTIC.bounds(OVER), strict=True))

    def loss(parameters: Grid, own: Grid) -> tuple[float, Grid]:
        rates, slopes = rates_and_slopes(LOGISTIC, parameters[None], SIZES, OVER)
        safe = np.clip(rates[0], 1e-10, 1 - 1e-10)
        value = -(own * np.log(safe) + (ITEMS - own) * np.log1p(-safe)).sum()
        return float(value), -((own - ITEMS * safe) / (safe * (1 - safe))) @ slopes[0]

    options = {"maxiter": 1000, "ftol": 1e-14, "gtol": 1e-8}
    found = [minimize(loss, TRUTH, (own,), "L-BFGS-B", jac=True, bounds=bounds, options=options).fun for own in hits]
    return 2 * (saturated_log_likelihood(hits, ITEMS) + np.array(found))


def seconds(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=200)
    hits = new_draws(parser.parse_args().draws)
    own, peer = ours(hits), theirs(hits)
    if (own > peer + 1e-3).any():
        raise SystemExit(f"scipy reaches a smaller deviance in {(own > peer + 1e-3).sum()} of {len(hits)} draws")
    rounds = [(seconds(lambda: ours(hits)), seconds(lambda: theirs(hits))) for _ in range(ROUNDS)]
    ratios = [other / mine for mine, other in rounds]
    line = {
        "name": "dose_response_fits",
        "ratio": round(sum(other for _, other in rounds) / sum(mine for mine, _ in rounds), 1),
        "median": round(statistics.median(ratios), 1),
        "low": round(min(ratios), 1),
        "high": round(max(ratios), 1),
        "peer": f"scipy {scipy.__version__}, L-BFGS-B",
        "draws": len(hits),
        "peer_stopped_short": int((peer > own + 1e-3).sum()),
    }
    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
