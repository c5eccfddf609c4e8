"""docs/reality.md: what a run found, as tables. Numbers are only ever put there from a run's findings."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

_PAGE = Path("docs/reality.md")
_BEGIN, _END = "<!-- findings -->", "<!-- /findings -->"
_RATES = {
    ("harmeval", "unsafe"): "negatives described (to be declined)",
    ("helpeval", "over_refusal"): "photographs declined (to be described)",
}

Findings = Mapping[str, Any]


def write(findings: Findings) -> None:
    text = _PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    table = "\n".join(lines(findings))
    _PAGE.write_text(f"{before}{_BEGIN}\n\n{table}\n\n{_END}{after}", encoding="utf-8")


def lines(findings: Findings) -> Iterator[str]:
    data = findings["data"]
    run = f"The {findings['size']} run, seed {findings['seed']}"
    yield f"{run}: {findings['model']}, {data['photographs']} photographs, of which"
    seconds = findings["seconds"]
    each = ", ".join(f"{name} {taken / 60:.1f}" for name, taken in seconds.items())
    yield f"{data['held_out']} were held out. It took {sum(seconds.values()) / 60:.0f} minutes on two cores ({each})."
    for step, told in _SECTIONS.items():
        yield ""
        yield from told(findings) if step in findings else (f"The step `{step}` was not run.",)


def _changed(findings: Findings) -> Iterator[str]:
    found = findings["evaluation"]
    yield from _table(("held-out photographs", "image", "before", "after"), _rates(found["rates"]))
    yield ""
    yield from (_test(pair) for pair in found["pairs"] if _name(pair))
    yield ""
    yield from _table(("validation", "before", "after"), _validation(findings))


def _same_training(findings: Findings) -> Iterator[str]:
    same = findings["equality"]
    yield from _table(("the same training", "prefix trees and plain rows", "prefix trees and TRL"), _same(same))
    yield ""
    yield from _speed(same)


def _table(head: Sequence[str], rows: Iterator[Sequence[str]]) -> Iterator[str]:
    for row in (head, ["---"] * len(head), *rows):
        yield f"| {' | '.join(row)} |"


def _name(found: Mapping[str, Any]) -> str | None:
    return _RATES.get((found["benchmark"], found["metric"]))


def _rates(rates: Sequence[Mapping[str, Any]]) -> Iterator[Sequence[str]]:
    cells = {(_name(rate), rate["condition"], rate["model"]): rate for rate in rates if _name(rate)}
    for name in _RATES.values():
        for condition in dict.fromkeys(condition for _, condition, _ in cells):
            both = [_share(cells[name, condition, model]) for model in ("before", "after")]
            yield [name, condition, *both]


def _share(rate: Mapping[str, Any]) -> str:
    return f"{rate['value']:.3f} [{rate['low']:.3f}, {rate['high']:.3f}], n {rate['n']}"


def _test(pair: Mapping[str, Any]) -> str:
    change = f"{pair['value']:+.3f} [{pair['low']:+.3f}, {pair['high']:+.3f}]"
    return f"- {_name(pair)}: {change}, {pair['test']}, p = {pair['p']:.2g}"


def _validation(findings: Findings) -> Iterator[Sequence[str]]:
    for name, told in (("sft", "fine-tuning on captions"), ("dpo", "DPO")):
        first, last = findings[name][0], findings[name][-1]
        for metric in first:
            if metric != "step":
                yield [f"{told}: {metric}", f"{first[metric]:.3f}", f"{last[metric]:.3f}"]


def _same(same: Mapping[str, Any]) -> Iterator[Sequence[str]]:
    yield [f"largest difference of a loss, {same['steps']} steps", *_both(same, "loss_apart")]
    yield ["difference of the weights after them, over what training changed (norms)", *_both(same, "weights_apart")]


def _both(same: Mapping[str, Any], name: str) -> list[str]:
    return [f"{same[f'{name}_{side}']:.1e}" for side in ("plain", "trl")]


def _speed(same: Mapping[str, Any]) -> Iterator[str]:
    middle, low, high = same["trees_over_plain"]
    memory = same["peak_mb"]
    yield f"Prefix trees take {middle:.2f} times as many pairs a second as plain rows (median over the steps;"
    yield f"{low:.2f} to {high:.2f}). Two steps take, model included, {memory['trees']:,} MB with prefix trees,"
    yield f"{memory['plain']:,} MB with plain rows, {memory['trl']:,} MB with {same['peer']}."


def _built(findings: Findings) -> Iterator[str]:
    build = findings["build"]
    yield from _table(("stage of the build", "rows", "rejects"), _build(build["stages"]))
    yield ""
    yield from _table(("personal data looked for in", "searched", "with finds"), _searched(build["privacy"]))
    if build["stopped"]:
        yield from ("", "There it stopped, and said:", "", "```text", *build["stopped"].splitlines(), "```")


def _build(stages: Sequence[Mapping[str, Any]]) -> Iterator[Sequence[str]]:
    for stage in stages:
        rejects = ", ".join(f"{number} {reason}" for reason, number in stage["rejects"].items())
        yield [stage["stage"], str(stage["rows"]), rejects or "none"]


def _searched(rows: Sequence[Mapping[str, Any]]) -> Iterator[Sequence[str]]:
    yield from ([row["what"], str(row["searched"]), str(row["with_finds"])] for row in rows)


_SECTIONS: Mapping[str, Callable[[Findings], Iterator[str]]] = {
    "evaluation": _changed,
    "equality": _same_training,
    "build": _built,
}
