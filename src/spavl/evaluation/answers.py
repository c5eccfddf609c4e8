"""answers: Item rows -> Answer rows, a stream of work for each model.

Models behind servers are called concurrently. Models in this process are called one after another, and each is unloaded
before the next is loaded.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from spavl.evaluation.conditions import ConditionInputs, asked_under, image_for, inputs_of, question_for
from spavl.evaluation.config import ANSWERS, AnswersConfig, Condition
from spavl.evaluation.model_names import models_by_name
from spavl.evaluation.notes import AnswersNotes
from spavl.evaluation.paraphrases import open_paraphrases
from spavl.evaluation.records import Answer, Item
from spavl.judges.registry import runs_here
from spavl.models.types import ImageData, Message, Reply, Request
from spavl.records import Record
from spavl.stages.context import RowResult, StageContext, Stream, reject
from spavl.stages.runner import run_streams
from spavl.store import Manifest

# Degenerate baselines, which give every item the same answer. Evaluations include them because a metric on which one of
# them looks good says little.
BASELINES = {"always refuses": "fixed/refuse", "always complies": "fixed/comply"}
# How many items of each benchmark a baseline answers at most; its rates need no more, and judges may cost money.
BASELINE_ITEMS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedItem(Record):
    """An item under one condition, for one sample."""

    item_id: str
    condition: Condition
    sample: int


async def run(context: StageContext[AnswersConfig]) -> Manifest:
    settings, tested = context.settings, _model_uris(context)
    items = {item.id: item for item in context.run.read("items", Item)}
    inputs = inputs_of(list(items.values()), context.seed)
    asked = list(all_asked(items.values(), inputs, settings))
    for_baselines = baseline_sample(items.values())
    reworded = open_paraphrases(settings.paraphrases, context.models) if "paraphrase" in settings.conditions else None
    models = {name: context.models.open(uri, ANSWERS.stage) for name, uri in tested.items()}

    def stream(name: str, wave: int) -> Stream[AskedItem, Answer]:
        async def work(given: AskedItem) -> RowResult[Answer]:
            item = items[given.item_id]
            if name in BASELINES and (given.condition != "real" or given.sample or item.id not in for_baselines):
                return RowResult()
            question = question_for(item, given.condition, inputs)
            if given.condition == "paraphrase" and reworded is not None:
                question = await reworded(item.question)
                if not question:
                    return RowResult(rejects=[reject(item, "no_paraphrase", name)])
            shown = image_for(item, given.condition, inputs, context.run.blobs)
            reply = await models[name].ask(_request(question, shown, given, context))
            return RowResult([_answer(name, given, reply)])

        return Stream(name, asked, work, wave)

    streams = [stream(name, wave) for name, wave in zip(tested, waves_of(tested.values()), strict=True)]
    notes = AnswersNotes(names={name: model.name for name, model in models.items()}, asked=len(asked))
    return await run_streams(context, ANSWERS, streams, len(asked), lambda: notes)


def _model_uris(context: StageContext[AnswersConfig]) -> dict[str, str]:
    models = models_by_name(context.settings.models)
    named = {name: uri or f"hf/{context.run.checkpoint('aligned')}" for name, uri in models.items()}
    return (BASELINES if context.settings.baselines else {}) | named


def all_asked(items: Iterable[Item], inputs: ConditionInputs, settings: AnswersConfig) -> Iterator[AskedItem]:
    for item in items:
        for condition in asked_under(item, settings.conditions, inputs):
            for sample in range(settings.samples):
                yield AskedItem(item_id=item.id, condition=condition, sample=sample)


def baseline_sample(items: Iterable[Item]) -> set[str]:
    """The items of each benchmark that the baselines answer, the same in every evaluation of that benchmark."""
    of_benchmark: dict[str, list[str]] = {}
    for item in items:
        of_benchmark.setdefault(item.benchmark, []).append(item.id)
    return {each for own in of_benchmark.values() for each in sorted(own)[:BASELINE_ITEMS]}


def waves_of(uris: Iterable[str]) -> Iterator[int]:
    """The wave of each model: models that fill this machine's memory have a wave each, the others share wave 0."""
    wave = 0
    for uri in uris:
        wave += (here := runs_here(uri))
        yield wave if here else 0


def _request(question: str, shown: ImageData | None, given: AskedItem, context: StageContext[AnswersConfig]) -> Request:
    return Request(
        (Message("user", question, (shown,) if shown else ()),),
        max_tokens=context.settings.max_tokens,
        temperature=context.settings.temperature,
        seed=context.seed,
        sample=given.sample,
    )


def _answer(name: str, given: AskedItem, reply: Reply) -> Answer:
    return Answer(
        item_id=given.item_id,
        model=name,
        condition=given.condition,
        sample=given.sample,
        text=reply.text,
        finish=reply.finish,
        call=reply.call,
        reasoning=reply.reasoning,
    )
