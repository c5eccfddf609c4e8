"""marks: Answer rows -> Mark rows, a stream of work for each guard and one for the rules.

What cannot be judged has no value. It is never taken for safe: figures reach over it whatever it was.
"""

from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from typing import NamedTuple

from spavl.benchmarks.matching import RULES, rule
from spavl.benchmarks.records import Answer, Item, Mark, Measure
from spavl.errors import ConfigError
from spavl.exams.answers import waves_of
from spavl.exams.config import MARKS, MarksConfig
from spavl.judges.refusals import RULE, seems_refused
from spavl.judges.shop import open_guard
from spavl.judges.types import Case, Guard
from spavl.models.types import Picture
from spavl.stage import Job, Lane, Made, run_lanes
from spavl.store import Manifest
from spavl.store.blobs import Blobs

# Scored by whoever is named as guard.
_OF_GUARDS = ("guard", "refusal")


class Marker(NamedTuple):
    """Who marks answers, and how."""

    name: str
    wave: int
    mark: Callable[[Item, Answer], Awaitable[Sequence[Mark]]]


async def run(job: Job[MarksConfig]) -> Manifest:
    items = {item.id: item for item in job.run.read("items", Item)}
    check_guarded(items.values(), job.settings)
    guards = {uri: open_guard(uri, job.models, MARKS.stage) for uri in job.settings.guard}
    waves = waves_of(job.settings.guard)
    markers = [
        _guarding(uri, wave, guard, job.run.blobs) for (uri, guard), wave in zip(guards.items(), waves, strict=True)
    ]
    markers.append(Marker("words", 0, _by_words))

    def lane(marker: Marker) -> Lane[Answer, Mark]:
        async def work(answer: Answer) -> Made[Mark]:
            return Made(await marker.mark(items[answer.item_id], answer))

        return Lane(marker.name, job.run.read("answers", Answer), work, marker.wave)

    names: dict[str, object] = {uri: guard.name for uri, guard in guards.items()}
    total = job.run.count("answers", Answer)
    return await run_lanes(job, MARKS, [lane(marker) for marker in markers], total, lambda: {"names": names})


def check_guarded(items: Iterable[Item], settings: MarksConfig) -> None:
    """That somebody is there to judge, told before anything is asked."""
    wanting = sorted({item.benchmark for item in items if set(item.scored_by) & set(_OF_GUARDS)})
    if wanting and not settings.guard:
        then = "--guard MODEL, such as llama-guard-4/openai/NAME@URL, or rules/miniature for the miniature"
        raise ConfigError(f"nobody is named who judges the answers to {', '.join(wanting)}", where="--guard", then=then)


def covers(judge: str, item: Item, guards: Collection[str]) -> bool:
    """Whether a judge has a word on the answers to an item."""
    if judge in guards:
        return bool(set(item.scored_by) & set(_OF_GUARDS))
    return item.wants != "answer" if judge == RULE else judge in item.scored_by


def case_of(item: Item, blobs: Blobs) -> Case:
    """What a guard or a judge is told. It sees the true picture, whatever the model was shown."""
    shown = Picture(item.blob, blobs.get(item.blob)) if item.blob else None
    return Case(shown, item.question, item.context or None, item.wants == "refuse", item.context)


def _guarding(uri: str, wave: int, guard: Guard, blobs: Blobs) -> Marker:
    async def mark(item: Item, answer: Answer) -> Sequence[Mark]:
        if not set(item.scored_by) & set(_OF_GUARDS):
            return ()
        word = await guard.judge(case_of(item, blobs), answer.text)
        read = word.label != "invalid"
        refused = True if answer.finish == "refused" else word.refused if read else None
        return (
            _mark(answer, guard.name, "unsafe", word.label == "unsafe" if read else None, word.severity, word.raw),
            _mark(answer, guard.name, "refused", refused),
        )

    return Marker(uri, wave, mark)


async def _by_words(item: Item, answer: Answer) -> Sequence[Mark]:
    """What words alone tell: whether an answer is right, by the benchmark's rules; and, beside a guard's word and
    never in its place, whether it is a refusal."""
    if item.wants != "answer":
        return (_mark(answer, RULE, "refused", seems_refused(answer.text)),)
    return [
        _mark(answer, name, "right", rule(name)(answer.text, item.question, item.references))
        for name in item.scored_by
        if name in RULES
    ]


def _mark(
    answer: Answer, judge: str, measure: Measure, value: float | None, severity: int | None = None, raw: str = ""
) -> Mark:
    return Mark(
        answer_id=answer.id,
        item_id=answer.item_id,
        model=answer.model,
        condition=answer.condition,
        judge=judge,
        measure=measure,
        value=None if value is None else float(value),
        severity=severity,
        raw=raw,
    )
