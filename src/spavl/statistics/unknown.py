"""When a rate is withheld because too many answers have no verdict."""


def too_many_unknown(unknown: int, asked: int, most: float) -> bool:
    """Whether more than this share is not known, and more than a single answer.

    A single one moves a rate by one answer, whatever it was: no interval of so many answers is narrower than that,
    and it reaches over what is not known. Only where none at all is allowed is one too many.
    """
    return unknown > max(most * asked, 1.0 if most else 0.0)
