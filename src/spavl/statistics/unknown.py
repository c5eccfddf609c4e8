"""When a rate is withheld because too many answers have no verdict."""


def too_many_unknown(unknown: int, asked: int, most: float) -> bool:
    """Whether more than a share of `most` is unknown, and more than a single answer.

    A single unknown answer is allowed: it changes a rate by at most one answer, every interval is wider than that, and
    the interval covers it. If `most` is 0, one is too many.
    """
    return unknown > max(most * asked, 1.0 if most else 0.0)
