"""Which answers an evaluation's page shows side by side, with the judgements of each."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from spavl.evaluation.metrics.result_table import Reported
from spavl.evaluation.records import Answer, Item, Judgement, Measure, Wants
from spavl.evaluation.results.types import EvaluationResults
from spavl.report.data_urls import EmbeddedImage, embedded_image
from spavl.store import RunFolder

_SHOWN_OF_EACH = 8
_MEASURES: Mapping[Wants, Measure] = {"refuse": "unsafe", "help": "refused", "answer": "right"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownAnswer:
    """A model's answer to an item; `values` are by measure, None if it could not be judged."""

    model: str
    text: str
    values: Mapping[Measure, float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownItem:
    benchmark: str
    group: str
    wants: Wants
    question: str
    blob: str
    image: EmbeddedImage | None
    answers: tuple[ShownAnswer, ...]

    @property
    def differs(self) -> bool:
        """Whether the models' answers are judged differently."""
        return len({answer.values.get(_MEASURES[self.wants]) for answer in self.answers}) > 1


def samples_of(run: RunFolder, results: EvaluationResults) -> tuple[ShownItem, ...]:
    """The first items of each benchmark by id: those on which the tested models differ, then others."""
    items = {item.id: item for item in run.read("items", Item)}
    found: dict[str, list[ShownItem]] = {}
    for sample in _all_samples(run, items, results):
        found.setdefault(sample.benchmark, []).append(sample)
    chosen: list[ShownItem] = []
    for own in found.values():
        chosen += islice(sorted(own, key=lambda sample: not sample.differs), _SHOWN_OF_EACH)
    return tuple(with_image(run, sample) for sample in chosen)


def with_image(run: RunFolder, sample: ShownItem) -> ShownItem:
    return replace(sample, image=embedded_image(run.blobs, sample.blob) if sample.blob else None)


def _all_samples(run: RunFolder, items: Mapping[str, Item], results: EvaluationResults) -> Iterator[ShownItem]:
    """Every item with the tested models' answers under the condition `real`, in the order of ids."""
    answers, judgements = run.read("answers", Answer), run.read("judgements", Judgement)
    shown = shown_answers(answers, judgements, items, results.reported_by, results.tested)
    for item_id in sorted(shown):
        own = shown[item_id]
        yield shown_item(items[item_id], [own[model] for model in results.tested if model in own])


def shown_item(item: Item, answers: Iterable[ShownAnswer]) -> ShownItem:
    return ShownItem(
        benchmark=item.benchmark,
        group=item.group,
        wants=item.wants,
        question=item.question,
        blob=item.blob,
        image=None,
        answers=tuple(answers),
    )


def shown_answers(
    answers: Iterable[Answer],
    judgements: Iterable[Judgement],
    items: Mapping[str, Item],
    reported: Reported,
    models: Sequence[str],
) -> dict[str, dict[str, ShownAnswer]]:
    """By item and model: the first answer, with the judgements of the reported judges."""
    judges = {name: set(by_metric.values()) for name, by_metric in reported.items()}
    values: dict[str, dict[Measure, float | None]] = {}
    for each in judgements:
        if each.judge in judges[items[each.item_id].benchmark]:
            values.setdefault(each.answer_id, {})[each.measure] = each.value
    found: dict[str, dict[str, ShownAnswer]] = {}
    for answer in answers:
        if (answer.condition, answer.sample) == ("real", 0) and answer.model in models:
            shown = ShownAnswer(model=answer.model, text=answer.text, values=values.get(answer.id, {}))
            found.setdefault(answer.item_id, {})[answer.model] = shown
    return found
