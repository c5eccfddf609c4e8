"""Reports at the end of a run which rates of its evaluation are withheld, so that the run does not end as a success."""

from collections.abc import Sequence

from spavl.errors import GateError


def check_withheld(withheld: Sequence[str]) -> None:
    """Raise if any rate is withheld; all files of the run are written by then."""
    if withheld:
        rates, are = ("1 rate", "is") if len(withheld) == 1 else (f"{len(withheld)} rates", "are")
        raise GateError(
            f"{rates} of the evaluation {are} withheld; all else is reported",
            where="\n         ".join(withheld),
            then="look at tables/judgements.parquet and, of comparisons, tables/pairwise.parquet; use another "
            "evaluation.guard or evaluation.judge, or report bounds with --evaluation.max_invalid 1",
        )
