"""Runs a stage: skip what is done, do the rest many at once, keep rejects with their reason, count, show.

A stage is a function from one input to rows and rejects. What it gives for an input is
written in one transaction, so a kill at any moment leaves each input whole or undone.
"""

import asyncio
import itertools
import re
import time
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

from pydantic import BaseModel

from spavl.engine import map_lanes
from spavl.judges.guards.custom_prompt import own_in
from spavl.models.call_outcomes import CallOutcomes, listen
from spavl.models.factory import ModelFactory
from spavl.models.names import without_addresses
from spavl.models.types import Deferred, Rejected, Transient
from spavl.records import Record, Reject, content_hash
from spavl.stages.spec import StageSpec
from spavl.stages.stops import UNREAD_IN_A_ROW, ModelRefusals, check_lost, nothing_left, stop_refused, stop_unreadable
from spavl.store import Manifest, RunFolder
from spavl.store.journal import Journal
from spavl.terminal.progress import Screen

In = TypeVar("In", bound=Record)
Out = TypeVar("Out", bound=Record)
C = TypeVar("C", bound=BaseModel)
T = TypeVar("T")

PROVIDER_FAILED = "provider_failed"
# A permanent 4xx. Single ones say something of their input; if there is nothing else, the model or its server is wrong.
REFUSED = "refused_by_server"
# With fewer the rest is still asked, for it may be one model of many that is ill; with more there is no sense in it.
_HOPELESS_FROM = 100
# What stands before the folder of a model that lies on this disk: the name it is given, and its kind.
_KIND = re.compile("^([^=/]+=)?((hf|reward)/)?")
# So many inputs wait for batches at the same time; the batches are then sent before more is asked.
_MOST_PARKED = 100_000


class RowResult(NamedTuple, Generic[Out]):
    """What a stage made of one input."""

    rows: Sequence[Out] = ()
    rejects: Sequence[Reject] = ()
    # Whether it was lost to a fault that may pass, so that it is worth asking again.
    passing: bool = False


class Stream(NamedTuple, Generic[In, Out]):
    """One stream of a stage's work: its inputs, and what is done with each."""

    name: str
    inputs: Iterable[In]
    work: Callable[[In], Awaitable[RowResult[Out]]]
    # Lanes of a later wave wait for those of the earlier ones, and for the memory that their models held.
    wave: int = 0
    # Whether it stops once a model's replies cannot be read one after the other.
    must_be_read: bool = False


class FailedInput(NamedTuple, Generic[In, Out]):
    """An input that a lane could not do, and what was made of it."""

    position: int
    given: In
    made: RowResult[Out]


class _Attempt(NamedTuple, Generic[Out]):
    """What was made of an input, and which models were heard at it."""

    made: RowResult[Out]
    heard: CallOutcomes


class _PendingFailures(Generic[In, Out]):
    """What a lane could not do is not written down before it is known whether the lane is ill or single inputs are.

    A model is silent that has refused and never answered: its server takes nothing at all, or was asked too little.
    """

    def __init__(self, answered: set[str], must_be_read: bool) -> None:
        self.answered, self._must_be_read = answered, must_be_read
        # Of each model, at how many inputs in a row nothing could be read, and the last reply.
        self._unread: dict[str, tuple[int, str]] = {}
        self.failed: list[FailedInput[In, Out]] = []
        self.refused: list[FailedInput[In, Out]] = []
        self._refusals: dict[str, ModelRefusals] = {}

    def hold(self, position: int, given: In, tried: _Attempt[Out]) -> bool:
        made, heard = tried
        for model, reply in heard.unread_of.items():
            self._unread[model] = self._unread.get(model, (0, ""))[0] + 1, reply
        for model in heard.read_of:
            self._unread.pop(model, None)
        self.answered |= heard.answered
        if made.passing:
            self.failed.append(FailedInput(position, given, made))
            return True
        silent = heard.refused.keys() - self.answered
        for model in silent:
            before = self._refusals.get(model, ModelRefusals(model, "", 0))
            self._refusals[model] = ModelRefusals(model, heard.refused[model], before.inputs + 1)
        if silent:
            self.refused.append(FailedInput(position, given, made))
        return bool(silent)

    def take_failed(self) -> list[FailedInput[In, Out]]:
        failed, self.failed = self.failed, []
        return failed

    def silent(self) -> list[ModelRefusals]:
        """The models that answered nothing, those first that refused most."""
        found = [refusals for model, refusals in self._refusals.items() if model not in self.answered]
        return sorted(found, key=lambda refusals: -refusals.inputs)

    def unreadable(self) -> tuple[str, str] | None:
        """A model in whose replies nothing can be read, and the last of them."""
        found = [(model, reply) for model, (times, reply) in self._unread.items() if times >= UNREAD_IN_A_ROW]
        return found[0] if found and self._must_be_read else None

    def hopeless(self, most_lost: float) -> bool:
        refused = any(refusals.inputs > _HOPELESS_FROM for refusals in self.silent())
        return refused or self.unreadable() is not None or len(self.failed) > max(_HOPELESS_FROM, most_lost)


@dataclass(frozen=True, slots=True)
class StageContext(Generic[C]):
    """All that a stage is given: its settings, its run and the means of the pipeline."""

    run: RunFolder
    settings: C
    seed: int
    models: ModelFactory
    screen: Screen
    in_flight: int
    limit: int | None = None


def reject(parent: Record, reason: str, detail: str = "") -> Reject:
    return Reject(parent_id=parent.id, reason=reason, detail=detail[:500])


def fingerprint_of(job: StageContext[C], plan: StageSpec[Out]) -> str:
    """What a stage's rows hang on: its version, its settings, the seed, the rows and the files it reads."""
    read = [manifest.content for name in plan.reads if (manifest := job.run.manifest(name))]
    # A model that has moved to another address is the same model.
    settings = job.settings.model_dump(mode="json")
    own = without_addresses(job.models.settings_within(settings))
    more = [*own, *([job.limit] if plan.limited and job.limit is not None else [])]
    state = _state_of_files(job, plan)
    return content_hash([plan.stage, plan.version, without_addresses(settings), job.seed, read, state, *more])


def _state_of_files(job: StageContext[C], plan: StageSpec[Out]) -> list[object]:
    return [job.run.state_of(_place(name)) for name in _named(job.settings, plan.files)]


def _place(name: str) -> Path:
    """Where a setting's file or folder lies; what is called so as it stands goes before what its name may mean."""
    if Path(name).exists():
        return Path(name)
    own = own_in(name.removeprefix("judge/"))
    return Path(own.file if own else _KIND.sub("", name))


def _named(settings: BaseModel, names: Sequence[str]) -> Iterator[str]:
    for name in names:
        value = attrgetter(name)(settings)
        yield from filter(None, (value,) if isinstance(value, str) else value)


def finished(job: StageContext[C], plan: StageSpec[Out]) -> Manifest | None:
    """The stage's manifest, if its rows were brought in, or made with these very settings and inputs."""
    manifest = job.run.manifest(plan.stage)
    if manifest is None or manifest.origin is not None:
        return manifest
    return manifest if manifest.fingerprint == fingerprint_of(job, plan) else None


async def run_rows(
    job: StageContext[C],
    plan: StageSpec[Out],
    inputs: Iterable[In],
    total: int,
    work: Callable[[In], Awaitable[RowResult[Out]]],
    conclude: Callable[[], dict[str, object]] = dict,
    must_be_read: bool = False,
) -> Manifest:
    """Do a stage over its inputs, from where it was left.

    `conclude` is called once the rows are on disk and before the stage counts as finished;
    it may check or export them, and gives the manifest's notes.
    """
    return await run_lanes(job, plan, [Stream(plan.stage, inputs, work, must_be_read=must_be_read)], total, conclude)


async def run_lanes(
    job: StageContext[C],
    plan: StageSpec[Out],
    lanes: Sequence[Stream[In, Out]],
    total: int,
    conclude: Callable[[], dict[str, object]] = dict,
) -> Manifest:
    """Do a stage as several streams of work side by side, none of which can hold up another.

    Each lane has `total` inputs. The rows come to lie as if every input had gone through all lanes in turn.
    """
    began, run = time.monotonic(), job.run
    fingerprint = fingerprint_of(job, plan)
    run.forget(plan.stage)
    journal = run.journal(plan.stage, fingerprint)
    try:
        held: list[_PendingFailures[In, Out]] = [
            _PendingFailures(journal.answered(number), lane.must_be_read) for number, lane in enumerate(lanes)
        ]

        def todo(number: int) -> Iterator[tuple[int, int, In]]:
            for position, given in journal.undone(lanes[number].inputs, number, len(lanes)):
                if held[number].hopeless(plan.lost_at_most * total):
                    return
                yield number, position, given

        async def walk(todo: Callable[[int], Iterator[tuple[int, int, In]]], count: int, done: int) -> None:
            with job.screen.bar(plan.stage, count, done) as bar:
                async with aclosing(_waves(job, lanes, todo, bar.tell)) as results:
                    async for (number, position, given), tried in results:
                        made, own = tried.made, held[number]
                        if new := tried.heard.answered - own.answered:
                            journal.note_answered(number, new)
                        if not own.hold(position, given, tried):
                            journal.add(position, given.id, made.rows, made.rejects)
                        bar.advance(rejected=len(made.rejects))

        await walk(todo, total * len(lanes), journal.count())
        for lane, own in zip(lanes, held, strict=True):
            if silent := own.silent():
                stop_refused(job.run, plan.stage, lane.name, silent)
            if unreadable := own.unreadable():
                stop_unreadable(lane.name, *unreadable)
        failed = [[] if own.hopeless(plan.lost_at_most * total) else own.take_failed() for own in held]
        if count := sum(map(len, failed)):
            job.screen.say(f"{plan.stage}: {count} failed in passing, and are asked again in {plan.again_after:g} s")
            await asyncio.sleep(plan.again_after)
            await walk(lambda number: ((number, lost.position, lost.given) for lost in failed[number]), count, 0)
        for lane, own in zip(lanes, held, strict=True):
            check_lost(lane.name, len(own.failed), total, plan.lost_at_most)
        for position, given, made in itertools.chain(*(own.failed + own.refused for own in held)):
            journal.add(position, given.id, made.rows, made.rejects)
        manifest = _concluded(job, plan, fingerprint, journal, total, conclude, began)
        journal.delete()
        return manifest
    finally:
        journal.close()


def _concluded(
    job: StageContext[C],
    plan: StageSpec[Out],
    fingerprint: str,
    journal: Journal,
    total: int,
    conclude: Callable[[], dict[str, object]],
    began: float,
) -> Manifest:
    """Make a table of all that was journalled, and write down that the stage is finished."""
    run = job.run
    run.write_rows(plan.stage, plan.writes, journal.rows(plan.writes))
    run.write_rows(plan.stage, Reject, journal.rejects())
    rejects = Counter(reject.reason for reject in journal.rejects())
    run.ledger.seal(plan.stage)
    notes = conclude()
    if total and not run.count(plan.stage, plan.writes):
        raise nothing_left(plan.stage, total, rejects)
    return seal(job, plan, fingerprint, dict(sorted(rejects.items())), time.monotonic() - began, notes)


def seal(
    job: StageContext[C],
    plan: StageSpec[Out],
    fingerprint: str,
    rejects: dict[str, int],
    seconds: float,
    notes: dict[str, object],
) -> Manifest:
    """Write down that a stage is finished. Its table must be in place."""
    manifest = Manifest(
        stage=plan.stage,
        fingerprint=fingerprint,
        content=_content(job, plan),
        rows=job.run.count(plan.stage, plan.writes),
        rejects=rejects,
        seconds=round(seconds, 3),
        notes=notes,
    )
    job.run.write_manifest(manifest)
    return manifest


def _content(job: StageContext[C], plan: StageSpec[Out]) -> str:
    rows = job.run.content(plan.stage, plan.writes)
    return content_hash([rows, _state_of_files(job, plan)]) if plan.points else rows


async def _waves(
    job: StageContext[C],
    lanes: Sequence[Stream[In, Out]],
    todo: Callable[[int], Iterator[tuple[int, int, In]]],
    tell: Callable[[str], None],
) -> AsyncGenerator[tuple[tuple[int, int, In], _Attempt[Out]], None]:
    """The results of each wave of lanes in turn; between two waves models of this process leave the memory."""
    waves = sorted({lane.wave for lane in lanes})
    for wave in waves:
        own = [todo(number) if lane.wave == wave else iter(()) for number, lane in enumerate(lanes)]
        async with aclosing(_results(job, lanes, own, tell)) as results:
            async for result in results:
                yield result
        if wave != waves[-1]:
            await job.models.rest()


async def _results(
    job: StageContext[C],
    lanes: Sequence[Stream[In, Out]],
    todo: Sequence[Iterator[tuple[int, int, In]]],
    tell: Callable[[str], None],
) -> AsyncGenerator[tuple[tuple[int, int, In], _Attempt[Out]], None]:
    """What is made of each input, as it comes; those whose calls went into batches are done anew with the answers."""
    most = max(1, _MOST_PARKED // len(lanes))
    again: list[list[tuple[int, int, In]]] = [[] for _ in lanes]
    while True:
        parked: list[list[tuple[int, int, In]]] = [[] for _ in lanes]
        drawn = [
            itertools.chain(before, _until(new, most, now))
            for before, new, now in zip(again, todo, parked, strict=True)
        ]

        async def do(item: tuple[int, int, In]) -> _Attempt[Out] | None:
            return await _tried(job, lanes[item[0]].work, item[2])

        async with aclosing(map_lanes(drawn, do, job.in_flight)) as results:
            async for item, tried in results:
                if tried is None:
                    parked[item[0]].append(item)
                else:
                    yield item, tried
        if not any(parked):
            return
        await job.models.collect(tell)
        again = parked


def _until(items: Iterator[T], most: int, gathered: Sequence[T]) -> Iterator[T]:
    """Draw no more once so many are gathered; what is not drawn stays for the next round."""
    while len(gathered) < most:
        for item in itertools.islice(items, 1):
            yield item
            break
        else:
            return


async def _tried(
    job: StageContext[C], work: Callable[[In], Awaitable[RowResult[Out]]], given: In
) -> _Attempt[Out] | None:
    """What is made of an input; None while it waits for a batch."""
    heard = listen()
    try:
        return _Attempt(await work(given), heard)
    except Deferred:
        # Its calls to models that answer at once are still on their way.
        await job.models.landed()
        return None
    except Rejected as error:
        return _Attempt(RowResult(rejects=[reject(given, REFUSED, str(error))]), heard)
    except Transient as error:
        return _Attempt(RowResult(rejects=[reject(given, PROVIDER_FAILED, error.reason)], passing=True), heard)
