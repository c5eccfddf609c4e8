"""Prints a dry run: calls, tokens and price, likely and at most, and what was assumed."""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from itertools import groupby

from spavl.models.image_tokens import UNKNOWN, knows
from spavl.models.prices import FREE
from spavl.models.wrappers.thinking import ROOM
from spavl.stages.cost_model import CostEstimate, CostLine
from spavl.text.layout import table_lines, wrapped_lines

_HEAD = ("", "calls", "at most", "tokens in", "at most", "tokens out", "at most", "USD", "at most")
# The first columns of the groups that stay together if the table is split: calls, tokens in, tokens out, USD.
_STARTS = (1, 3, 5, 7)


def page(estimate: CostEstimate, budget_usd: float | None) -> Iterator[str]:
    if estimate.done:
        yield f"already finished; the estimate uses the rows of: {', '.join(estimate.done)}"
    asked = [line for line in estimate.lines if line.most.calls]
    if not asked:
        yield "No calls are left to make."
        return
    yield ""
    yield from table_lines(_right_align_numbers([_HEAD, *_rows(asked)]), _STARTS)
    yield ""
    for told in (*_on_the_ledger(estimate.lines), *_assumptions(asked)):
        yield from wrapped_lines(told)
    # Not wrapped: users copy these lines from the terminal.
    yield from _unknown_prices(asked)
    for told in _on_the_budget(asked, estimate.spent_usd, budget_usd):
        yield from wrapped_lines(told)
    if estimate.missing:
        yield "What is still missing before it can be built:"
        yield ""
        for missing in estimate.missing:
            yield from (f"  {line}".rstrip() for line in missing.splitlines())
            yield ""
    yield "Nothing was sent and nothing was written."


def _rows(lines: Sequence[CostLine]) -> Iterator[tuple[str, ...]]:
    """One row per stage; a stage with several models has a row of totals above one row per model."""
    named = _short_names({line.model for line in lines})
    for stage, group in groupby(lines, lambda line: line.stage):
        own = list(group)
        if len(own) == 1:
            yield (f"{stage}: {named[own[0].model]}", *_figures(own))
            continue
        yield (stage, *_figures(own))
        for line in own:
            yield (f"  {named[line.model]}", *_figures([line]))
    yield ("total", *_figures(lines))


def _short_names(models: Collection[str]) -> dict[str, str]:
    """Model names without kind, owner and address, unless two models would then have the same name."""
    short = {name: name.partition("@")[0].rpartition("/")[2] if name.startswith("openai/") else name for name in models}
    shared = Counter(short.values())
    return {name: short[name] if shared[short[name]] == 1 else name for name in models}


def _figures(lines: Sequence[CostLine]) -> Iterator[str]:
    for name in ("calls", "tokens_in", "tokens_out"):
        for case in ("likely", "most"):
            number = sum(getattr(getattr(line, case), name) for line in lines)
            yield f"{number:,.0f}" if name == "calls" else _three_digits(number)
    for case in ("likely", "most"):
        prices = [getattr(line, case).usd for line in lines]
        known = [usd for usd in prices if usd is not None]
        unknown = len(known) < len(prices)
        yield "unknown" if not known else f"{'> ' * unknown}{sum(known):,.2f}"


def _three_digits(number: float) -> str:
    """Three digits: a dry run is no more precise."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= 0.9995 * size:
            return f"{number / size:.3g}{unit}" if number < 999.5 * size else f"{number / size:,.0f}{unit}"
    return f"{number:.0f}"


def _right_align_numbers(rows: Sequence[tuple[str, ...]]) -> list[list[str]]:
    """Right-align the numbers of every column."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [[row[0], *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))] for row in rows]


def _on_the_ledger(lines: Sequence[CostLine]) -> Iterator[str]:
    if kept := sum(line.likely.kept for line in lines):
        yield f"{kept:,.0f} calls are in the ledger already, and are not counted above."


def _assumptions(lines: Sequence[CostLine]) -> Iterator[str]:
    yield "Likely: nothing is rejected, every answer can be parsed at the first request, 4 bytes of text make a token."
    yield (
        "At most: every answer has max_tokens tokens, every answer that must be parsed is requested twice, 2 bytes of "
        "text make a token. If a server charges more than that, --budget stops the run."
    )
    if any(line.likely.price != FREE and not line.likely.thinks for line in lines):
        yield f"A model that turns out to reason may use, and is paid for, up to {ROOM:,} more tokens for each answer."
    if thinking := sorted({line.model for line in lines if line.likely.thinks}):
        yield f"Counted with reasoning tokens: {', '.join(thinking)}."
    stages = {line.stage: line for line in lines}
    words = [f"{line.likely.words:.0f} words in {stage}" for stage, line in stages.items() if not line.likely.measured]
    if words:
        yield f"Assumed length of an answer: {', '.join(words)}."
    if measured := [line for line in lines if line.likely.measured]:
        yield f"Tokens taken from finished calls: {', '.join(f'{line.stage} by {line.model}' for line in measured)}."
    paid = [line for line in lines if line.likely.price != FREE]
    if guessed := {line.model for line in paid if line.likely.shown and not knows(line.likely.model)}:
        yield f"An image is counted as {UNKNOWN:,} tokens for {', '.join(sorted(guessed))}: the real number is unknown."


def _unknown_prices(lines: Sequence[CostLine]) -> Iterator[str]:
    for name in sorted({line.likely.model for line in lines if line.likely.price is None}):
        yield f"No price is known for {name}. Give it in USD per million tokens: --prices '{{\"{name}\" = [IN, OUT]}}'"


def _on_the_budget(lines: Sequence[CostLine], spent: float, budget_usd: float | None) -> Iterator[str]:
    if budget_usd is None:
        return
    likely, most = (sum(getattr(line, case).usd or 0.0 for line in lines) for case in ("likely", "most"))
    likely, most = likely + spent, most + spent
    if any(line.likely.price is None for line in lines):
        yield f"Whether the budget of {budget_usd:,.2f} USD is enough is unknown without these prices."
        return
    word = "is enough" if most <= budget_usd else "is likely enough" if likely <= budget_usd else "is not enough"
    yield f"The budget of {budget_usd:,.2f} USD {word}; {spent:,.2f} USD of it are spent."
