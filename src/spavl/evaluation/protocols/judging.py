"""as_published: Answer rows -> PublishedJudgement rows, a stream for each model that judges and one for phrases.

A protocol judges the first answer to each item under the condition `real`, as papers ask for one. Nothing is asked of
the tested models again. Empty answers are sent to judges as well, because the authors' code does so.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from spavl.evaluation.answers import waves_of
from spavl.evaluation.config import AS_PUBLISHED, AsPublishedConfig
from spavl.evaluation.items import placed_benchmarks
from spavl.evaluation.pairwise import REFERENCE
from spavl.evaluation.protocols.phrases import phrases_named, read_by_phrases
from spavl.evaluation.protocols.prompts import ProtocolPrompts, fill, prompts_beside
from spavl.evaluation.protocols.registry import judge_uri, protocols_named
from spavl.evaluation.protocols.types import (
    NO_REPLY,
    UNREADABLE,
    JudgeRule,
    PhraseRule,
    ProtocolMeasure,
    PublishedProtocol,
    Reading,
)
from spavl.evaluation.records import Answer, Item, PublishedJudgement
from spavl.models.call_outcomes import note_reading
from spavl.models.types import ChatModel, ImageData, RequestRejected, ask_about
from spavl.stages.context import RowResult, StageContext, Stream
from spavl.stages.runner import run_streams
from spavl.store import Manifest


class AppliedMeasure(NamedTuple):
    """A measure with its protocol, and the name of its judge."""

    protocol: PublishedProtocol
    measure: ProtocolMeasure
    judge: str

    def row(self, answer: Answer, against: str, reading: Reading, raw: str) -> PublishedJudgement:
        return PublishedJudgement(
            answer_id=answer.id,
            item_id=answer.item_id,
            model=answer.model,
            protocol=self.protocol.name,
            measure=self.measure.name,
            judge=self.judge,
            against=against,
            reading=reading,
            raw=raw,
        )


class OtherAnswer(NamedTuple):
    """The answer that the tested model's is compared with, and whose it is."""

    against: str
    text: str


Judging = Callable[[Item, Answer], Awaitable[Sequence[PublishedJudgement]]]


class JudgingStream(NamedTuple):
    name: str
    wave: int
    judge: Judging
    measures: tuple[ProtocolMeasure, ...]


async def run(context: StageContext[AsPublishedConfig]) -> Manifest:
    items = {item.id: item for item in context.run.read("items", Item)}
    answers = [each for each in context.run.read("answers", Answer) if (each.condition, each.sample) == ("real", 0)]
    streams = list(_streams(context, items, answers))
    measures = [measure for stream in streams for measure in stream.measures]
    judged = [each for each in answers if any(measure.covers(items[each.item_id]) for measure in measures)]

    def stream(judging: JudgingStream) -> Stream[Answer, PublishedJudgement]:
        async def work(answer: Answer) -> RowResult[PublishedJudgement]:
            return RowResult(await judging.judge(items[answer.item_id], answer))

        return Stream(judging.name, judged, work, judging.wave)

    return await run_streams(context, AS_PUBLISHED, [stream(each) for each in streams], len(judged))


def _streams(
    context: StageContext[AsPublishedConfig], items: Mapping[str, Item], answers: Iterable[Answer]
) -> Iterator[JudgingStream]:
    """The streams that any item needs: one for phrases, and one for each model that judges."""
    folders = {each.benchmark.name: each.folder for each in placed_benchmarks(context.settings)}
    prompts = prompts_beside(folders)
    others = OtherAnswers(items, answers, context.settings.base)
    by_uri: dict[str, list[tuple[PublishedProtocol, ProtocolMeasure]]] = {}
    for protocol in protocols_named(context.settings.protocol):
        for measure in protocol.measures:
            if any(measure.covers(item) for item in items.values()):
                uri = judge_uri(measure.rule, context.settings) if isinstance(measure.rule, JudgeRule) else ""
                by_uri.setdefault(uri, []).append((protocol, measure))
    for (uri, own), wave in zip(by_uri.items(), waves_of(by_uri), strict=True):
        measures = tuple(measure for _, measure in own)
        if not uri:
            yield JudgingStream("phrases", wave, _by_phrases(own, folders.values()), measures)
            continue
        model = context.models.open(uri, AS_PUBLISHED.stage)
        applied = [AppliedMeasure(*each, _judge_name(model, each[1], items.values(), prompts)) for each in own]
        yield JudgingStream(uri, wave, _by_model(model, applied, prompts, others, context), measures)


class OtherAnswers:
    """The other answer of each comparison: the one that the benchmark ships, else the base's."""

    def __init__(self, items: Mapping[str, Item], answers: Iterable[Answer], base: str) -> None:
        self._base = base
        self._said = {
            each.item_id: each.text for each in answers if each.model == base and not items[each.item_id].references
        }

    def to(self, item: Item, model: str) -> OtherAnswer | None:
        """None if there is nothing to compare with: the model is the base, or the base has no answer."""
        if against := against_of(item, model, self._base):
            text = item.references[0] if against == REFERENCE else self._said.get(item.id)
            return None if text is None else OtherAnswer(against, text)
        return None


def against_of(item: Item, model: str, base: str) -> str:
    """Whose answer a model's answer to an item is compared with; empty if with none."""
    if item.references:
        return REFERENCE
    return "" if base in (model, REFERENCE) else base


def _by_phrases(own: Sequence[tuple[PublishedProtocol, ProtocolMeasure]], folders: Collection[Path]) -> Judging:
    rules = [measure.rule for _, measure in own if isinstance(measure.rule, PhraseRule)]
    lists = {rule.phrases: phrases_named(rule.phrases, folders) for rule in rules}

    async def judge_answer(item: Item, answer: Answer) -> Sequence[PublishedJudgement]:
        rows = []
        for protocol, measure in own:
            if measure.covers(item) and isinstance(measure.rule, PhraseRule):
                found = read_by_phrases(measure.rule, lists[measure.rule.phrases], answer.text)
                applied = AppliedMeasure(protocol, measure, f"phrases {measure.rule.phrases}")
                rows.append(applied.row(answer, "", found.reading, found.phrase))
        return rows

    return judge_answer


def _by_model(
    model: ChatModel,
    applied: Sequence[AppliedMeasure],
    prompts: ProtocolPrompts,
    others: OtherAnswers,
    context: StageContext[AsPublishedConfig],
) -> Judging:
    async def judge_one(each: AppliedMeasure, item: Item, answer: Answer) -> PublishedJudgement | None:
        rule = each.measure.rule
        other = others.to(item, answer.model) if each.measure.is_pairwise else OtherAnswer("", "")
        if not isinstance(rule, JudgeRule) or other is None:
            return None
        text = _fill_prompt(prompts.text(rule.prompt_of(item)), item, answer, other)
        shown = ImageData(item.blob, context.run.blobs.get(item.blob)) if rule.sees_image and item.blob else None
        return each.row(answer, other.against, *await _ask(model, rule, text, shown))

    async def judge_answer(item: Item, answer: Answer) -> Sequence[PublishedJudgement]:
        # Asked together, so that those that wait for a provider's batch go into one.
        rows = await asyncio.gather(*(judge_one(each, item, answer) for each in applied if each.measure.covers(item)))
        return [row for row in rows if row is not None]

    return judge_answer


def _fill_prompt(text: str, item: Item, answer: Answer, other: OtherAnswer) -> str:
    """The prompt with the item's texts. Each prompt has some of these places, by its authors' names."""
    return fill(
        text,
        prompt=item.question,
        question=item.question,
        instruction=item.question,
        answer=answer.text,
        prediction=answer.text,
        answer_a=answer.text,
        answer_b=other.text,
        output_1=answer.text,
        output_2=other.text,
    )


async def _ask(model: ChatModel, rule: JudgeRule, text: str, shown: ImageData | None) -> tuple[Reading, str]:
    """Asks once, as the authors' code does: a reply that it cannot read is not asked for again."""
    try:
        reply = await model.ask(ask_about(shown, text, max_tokens=rule.max_tokens))
    except RequestRejected as error:
        return NO_REPLY, str(error)
    if reply.finish == "refused":
        return NO_REPLY, reply.text
    reading = rule.read(reply.text)
    note_reading(model.name, reply, reading != UNREADABLE)
    return reading, reply.text


def _judge_name(model: ChatModel, measure: ProtocolMeasure, items: Iterable[Item], prompts: ProtocolPrompts) -> str:
    rule = measure.rule
    names = {rule.prompt_of(item) for item in items if isinstance(rule, JudgeRule) and measure.covers(item)}
    return f"{model.name}|{prompts.origin(names)}"
