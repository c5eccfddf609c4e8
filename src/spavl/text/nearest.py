"""Finds the known names that are closest to a misspelt one."""

from collections.abc import Iterable

_SHOWN = 3


def nearest(typed: str, known: Iterable[str]) -> list[str]:
    """The known names that are a few keystrokes away, the nearest first; three at most.

    Dashes and underscores are equal, and case is ignored. A name with dots is also compared by its last parts, so that
    `learing-rate` finds `training.loop.learning_rate`.
    """
    wanted = _plain(typed)
    found = []
    for name in dict.fromkeys(known):
        plain = _plain(name)
        own, *tails = [plain.split(".", cut)[-1] for cut in range(plain.count(".") + 1)]
        # A match of a whole name ranks before a match of its last parts.
        near = min([(2 * _distance(wanted, own), own), *((2 * _distance(wanted, tail) + 1, tail) for tail in tails)])
        if near[0] // 2 <= max(len(wanted), len(near[1])) // 3:
            found.append((near[0], name))
    # A name that is much nearer than others is the one that was meant.
    worst = 2 * min(found)[0] + 1 if found else 0
    return [name for distance, name in sorted(found)[:_SHOWN] if distance <= worst]


def same_name(typed: str, known: Iterable[str]) -> str | None:
    """The known name that is typed, with dashes for underscores or the reverse; None if there is none."""
    names = list(known)
    if typed in names:
        return typed
    return next((name for name in names if name.replace("_", "-") == typed.replace("_", "-")), None)


def suggestion(typed: str, known: Iterable[str], kind: str = "known names", shape: str = "{}") -> str:
    """What to type instead: the near names, or all known names if none is near; `shape` formats each of them."""
    names = list(dict.fromkeys(known))
    near = [shape.format(name) for name in nearest(typed, names)]
    if near:
        return f"did you mean {' or '.join(near)}?"
    return f"{kind}: {', '.join(shape.format(name) for name in names)}"


def _plain(name: str) -> str:
    return name.casefold().replace("_", "-")


def _distance(one: str, other: str) -> int:
    """The edit distance: insertions, deletions, substitutions, and swaps of adjacent letters."""
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one, 1):
        above, earlier = row, before
        row = [i]
        for j, wanted in enumerate(other, 1):
            row.append(min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (letter != wanted)))
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == wanted:
                row[j] = min(row[j], earlier[j - 2] + 1)
        before = above
    return row[-1]
