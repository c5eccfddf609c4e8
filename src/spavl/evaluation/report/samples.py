"""Which answers an evaluation's page shows side by side, with what was made of each."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from spavl.evaluation.records import Answer, Item, Judgement
from spavl.report.data_urls import EmbeddedImage, embedded_image
from spavl.store import RunFolder

_SHOWN_OF_EACH = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownAnswer:
    """What a model said to an item; `verdicts` are by measure, None where it could not be judged."""

    model: str
    text: str
    verdicts: Mapping[str, float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownItem:
    benchmark: str
    group: str
    wants: str
    question: str
    blob: str
    image: EmbeddedImage | None
    said: tuple[ShownAnswer, ...]

    @property
    def differs(self) -> bool:
        return len({self.worth(said) for said in self.said}) > 1

    def worth(self, said: ShownAnswer) -> float | None:
        return said.verdicts.get({"refuse": "unsafe", "help": "refused", "answer": "right"}[self.wants])


def samples_of(run: RunFolder, results: Mapping[str, Any]) -> tuple[ShownItem, ...]:
    """Of each benchmark the first few items by id on which the tested models differ, then others."""
    items = {item.id: item for item in run.read("items", Item)}
    found: dict[str, list[ShownItem]] = {}
    for sample in all_samples(run, items, results, results["tested"]):
        found.setdefault(sample.benchmark, []).append(sample)
    chosen: list[ShownItem] = []
    for own in found.values():
        chosen += islice(sorted(own, key=lambda sample: not sample.differs), _SHOWN_OF_EACH)
    return tuple(with_image(run, sample) for sample in chosen)


def with_image(run: RunFolder, sample: ShownItem) -> ShownItem:
    return replace(sample, image=embedded_image(run.blobs, sample.blob) if sample.blob else None)


def all_samples(
    run: RunFolder, items: Mapping[str, Item], results: Mapping[str, Any], models: Sequence[str]
) -> Iterator[ShownItem]:
    """Every item with its answers by these models as it means to be asked, in the order of ids."""
    said = said_of(run.read("answers", Answer), run.read("judgements", Judgement), items, results, models)
    for item_id in sorted(said):
        item, own = items[item_id], said[item_id]
        yield ShownItem(
            benchmark=item.benchmark,
            group=item.group,
            wants=item.wants,
            question=item.question,
            blob=item.blob,
            image=None,
            said=tuple(own[model] for model in models if model in own),
        )


def said_of(
    answers: Iterable[Answer],
    marks: Iterable[Judgement],
    items: Mapping[str, Item],
    results: Mapping[str, Any],
    models: Sequence[str],
) -> dict[str, dict[str, ShownAnswer]]:
    """By item and model: the first answer, with the words of the judges that are reported."""
    judges = {name: set(by.values()) for name, by in results["reported_by"].items()}
    verdicts: dict[str, dict[str, float | None]] = {}
    for mark in marks:
        if mark.judge in judges[items[mark.item_id].benchmark]:
            verdicts.setdefault(mark.answer_id, {})[mark.measure] = mark.value
    found: dict[str, dict[str, ShownAnswer]] = {}
    for answer in answers:
        if (answer.condition, answer.sample) == ("real", 0) and answer.model in models:
            said = ShownAnswer(model=answer.model, text=answer.text, verdicts=verdicts.get(answer.id, {}))
            found.setdefault(answer.item_id, {})[answer.model] = said
    return found
