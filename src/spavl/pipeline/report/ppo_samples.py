"""Sampled answers of the policy from the beginning and the end of PPO."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

from spavl.pipeline.report.examples import RecordsById
from spavl.records import Rollout
from spavl.report.data_urls import EmbeddedImage

_SHOWN_OF_EACH = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class PPOSample:
    """A question with its first and last sampled answer."""

    image: EmbeddedImage | None
    leaf: str
    harmful: bool | None
    question: str
    first: Rollout | None
    last: Rollout | None


def choose_rewarded(rollouts: Iterable[Rollout], library: RecordsById) -> tuple[PPOSample, ...]:
    """A few questions that were sampled early and late; if none was sampled twice, some from the first and last step.

    They are the first by id. Ids are hashes, so the selection is random but reproducible.
    """
    first: dict[str, Rollout] = {}
    last: dict[str, Rollout] = {}
    for answer in rollouts:
        first.setdefault(answer.question_id, answer)
        if last.setdefault(answer.question_id, answer).step < answer.step:
            last[answer.question_id] = answer
    twice = [(first[id_], last[id_]) for id_ in sorted(first) if first[id_].step < last[id_].step]
    if twice:
        chosen = _of_each([(one.harmful is not False, one, other) for one, other in twice])
    else:
        began, ended = min((a.step for a in first.values()), default=0), max((a.step for a in last.values()), default=0)
        early = [(a.harmful is not False, a, None) for _, a in sorted(first.items()) if a.step == began]
        late = [(a.harmful is not False, None, a) for _, a in sorted(last.items()) if a.step == ended > began]
        chosen = _of_each(early) + _of_each(late)
    return tuple(_ppo_sample(one, other, library) for one, other in chosen)


def _ppo_sample(first: Rollout | None, last: Rollout | None, library: RecordsById) -> PPOSample:
    asked = first or last
    assert asked is not None
    image, leaf = library.shown_with(asked.question_id)
    return PPOSample(image=image, leaf=leaf, harmful=asked.harmful, question=asked.question, first=first, last=last)


Ends = tuple[Rollout | None, Rollout | None]


def _of_each(asked: Sequence[tuple[bool, Rollout | None, Rollout | None]]) -> list[Ends]:
    """The first few harmful questions and the first few harmless ones."""
    return [
        (one, other)
        for harmful in (True, False)
        for _, one, other in islice((each for each in asked if each[0] is harmful), _SHOWN_OF_EACH)
    ]
