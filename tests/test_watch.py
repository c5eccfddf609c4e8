"""What is seen of a model while it is trained, and what is made of it."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.courses import new_dpo, sample

from spavl.judges.rules import RuleGuard
from spavl.miniature.world import draw, png, scene
from spavl.models.hf import load_checkpoint
from spavl.models.shop import miniature_checkpoint
from spavl.records import Sample
from spavl.statistics import wilson
from spavl.training.config import PartsConfig, WatchConfig
from spavl.training.parts import prepare
from spavl.training.states import States
from spavl.training.watch import Look, Watch, choose


def questions() -> list[Sample]:
    """Of things that are alive, which it is harmful to wake, and of toys, which it is not."""
    return choose([replace(sample(k), harmful=k % 2 == 0, image_id=str(k)) for k in range(8)], 6)


def picture(blob: str) -> bytes:
    return png(draw(scene(int(blob), 0, 5, live=int(blob) % 2 == 0)))


def new_watch(folder: Path, patience: int = 0, every: int = 2) -> Watch:
    processor, model = load_checkpoint(miniature_checkpoint())
    model.train()
    subjects = {str(k): scene(k, 0, 5, live=True).thing.noun for k in range(8)}
    settings = WatchConfig(guard="rules/miniature", every=every, questions=6, max_tokens=24, patience=patience)
    return Watch(model, processor, questions(), picture, subjects, RuleGuard(), settings, folder / "looks.jsonl")


def test_harmful_and_harmless_questions_in_equal_parts_each_once() -> None:
    twice = [*questions(), *questions()]
    assert [question.harmful for question in choose(twice, 6)] == [True, False] * 3
    assert choose(twice, 99) == choose(list(reversed(twice)), 99) and len(choose(twice, 99)) == 6


def test_a_look_says_what_the_base_model_does_and_is_the_same_the_next_time(tmp_path: Path) -> None:
    watch = new_watch(tmp_path)
    first, again = asyncio.run(watch.look(0)), asyncio.run(watch.look(2))
    assert first.unsafe_rate.value > 0.5, "the base model answers everything"
    assert first.unsafe_rate.n == first.over_refusal.n == 3
    assert again._replace(step=0) == first
    assert watch._model.training, "it is trained on afterwards"


def test_looks_of_an_earlier_start_are_not_taken_again(tmp_path: Path) -> None:
    before = new_watch(tmp_path)
    asyncio.run(before.look(2))
    before.remember()
    after = new_watch(tmp_path)
    assert after.looks == before.looks
    assert not after.is_due(2, 9) and after.is_due(4, 9) and not after.is_due(5, 9) and after.is_due(9, 9)


def seen(watch: Watch, harms: Sequence[int]) -> Watch:
    watch.looks = [Look(2 * k, wilson(harm, 10), wilson(0, 10)) for k, harm in enumerate(harms)]
    return watch


@given(st.lists(st.integers(0, 10), min_size=1, max_size=8))
def test_it_is_hopeless_once_nothing_better_has_come_for_so_long(
    tmp_path_factory: pytest.TempPathFactory, harms: list[int]
) -> None:
    watch = seen(_patient(tmp_path_factory), harms)
    for number in range(len(harms)):
        best = min(harms[: number + 1])
        last = max(k for k in range(number + 1) if harms[k] == best)
        assert watch.best(2 * number) == watch.looks[last]
        assert watch.is_hopeless(2 * number) == (number - last >= 2)


_PATIENT: list[Watch] = []


def _patient(folders: pytest.TempPathFactory) -> Watch:
    if not _PATIENT:
        _PATIENT.append(new_watch(folders.mktemp("patient"), patience=2))
    return _PATIENT[0]


def test_the_best_weights_come_back(tmp_path: Path) -> None:
    model, dpo = new_dpo()
    states = States(tmp_path)
    states.save_best(dpo.module)
    best = {name: value.clone() for name, value in model.state_dict().items()}
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0 if parameter.requires_grad else 0.0)
    states.load_best(dpo.module)
    assert all(torch.equal(value, best[name]) for name, value in model.state_dict().items())


def test_a_model_that_is_trained_in_bf16_can_be_watched(tmp_path: Path) -> None:
    """What learns is kept in wider numbers than what is frozen, and a model speaks with both."""
    processor, model = load_checkpoint(miniature_checkpoint(), dtype="bfloat16")
    prepare(model, PartsConfig(vision=1))
    settings = WatchConfig(guard="rules/miniature", questions=6, max_tokens=24)
    subjects = {str(k): scene(k, 0, 5, live=True).thing.noun for k in range(8)}
    watch = Watch(model, processor, questions(), picture, subjects, RuleGuard(), settings, tmp_path / "looks.jsonl")
    assert asyncio.run(watch.look(0)).unsafe_rate.value > 0.5
