"""What a model can learn by: the losses as the papers and TRL have them, and the courses made of them."""

import dataclasses
import math
from collections import defaultdict
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from spavl.errors import ConfigError
from spavl.miniature.world import draw, png, scene
from spavl.models.backends.hf import load_checkpoint
from spavl.models.factory import miniature_checkpoint
from spavl.records import Sample
from spavl.terminal.progress import Screen
from spavl.training.config import DPOConfig, LoopConfig, PairWeightsConfig, TrainingConfig
from spavl.training.loop.loop import Checkpoints, train
from spavl.training.model.anatomy import blank_image
from spavl.training.model.trainable import prepare
from spavl.training.objectives.dpo import DPO, AnswerScores, PairBatch, ReferenceCache, _metrics
from spavl.training.objectives.losses import LOSS_TYPES, LossType, PairLoss, PairScores
from spavl.training.objectives.registry import Objective, ObjectiveInputs, new_objective
from spavl.training.prefix_trees.logprobs import answer_logprobs
from tests.support.records import filled

logprobs = st.lists(st.floats(-80, 0), min_size=4, max_size=4).map(lambda values: torch.tensor(values).double())
betas = st.floats(0.01, 2.0)
forms = st.sampled_from(sorted(LOSS_TYPES))
smoothings = st.floats(0, 0.49)


@given(logprobs, logprobs, logprobs, logprobs, betas, forms, smoothings)
def test_swapping_the_answers_flips_the_margin_whatever_is_asked_of_it(
    a: Tensor, b: Tensor, c: Tensor, d: Tensor, beta: float, form: str, smoothing: float
) -> None:
    policy, reference, loss = PairScores(a, b), PairScores(c, d), LOSS_TYPES[form].loss
    swapped_policy, swapped_reference = PairScores(b, a), PairScores(d, c)
    there = loss(policy, reference, beta, smoothing)
    back = loss(swapped_policy, swapped_reference, beta, smoothing)
    assert torch.allclose(there.margin_P, -back.margin_P)
    # Labels that are wrong so often are those of the swapped pair that are right so often.
    swapped = loss(swapped_policy, swapped_reference, beta, 1 - smoothing)
    assert torch.allclose(there.loss_P, swapped.loss_P)


@given(logprobs, logprobs, betas)
def test_an_untrained_policy_has_the_loss_of_no_margin(a: Tensor, b: Tensor, beta: float) -> None:
    untrained = {"sigmoid": math.log(2), "hinge": 1.0, "ipo": 1 / (4 * beta**2)}
    scores = PairScores(a, b)
    for form, loss in untrained.items():
        assert LOSS_TYPES[form].loss(scores, scores, beta, 0.0).loss_P.tolist() == pytest.approx([loss] * 4)


@given(logprobs, logprobs, logprobs, logprobs, betas)
def test_hinge_and_ipo_are_the_textbook_ones(a: Tensor, b: Tensor, c: Tensor, d: Tensor, beta: float) -> None:
    ratios = [(w - x) - (y - z) for w, y, x, z in zip(a.tolist(), b.tolist(), c.tolist(), d.tolist(), strict=True)]
    hinge = [max(0.0, 1 - beta * ratio) for ratio in ratios]
    ipo = [(ratio - 1 / (2 * beta)) ** 2 for ratio in ratios]
    policy, reference = PairScores(a, b), PairScores(c, d)
    assert LOSS_TYPES["hinge"].loss(policy, reference, beta, 0.0).loss_P.tolist() == pytest.approx(hinge)
    assert LOSS_TYPES["ipo"].loss(policy, reference, beta, 0.0).loss_P.tolist() == pytest.approx(ipo)


def of_trl(policy_BT: Tensor, reference_B: Tensor, mask_BT: Tensor, beta: float, kind: str, smoothing: float) -> float:
    """TRL's own code on these log-probabilities of tokens; trainer and model are stand-ins that hand them on."""
    from trl import DPOTrainer

    nothing_BT = torch.zeros_like(policy_BT)
    told = SimpleNamespace(
        log_probs=policy_BT, entropy=nothing_BT, mean_logits=nothing_BT, is_top1=nothing_BT.bool(), aux_loss=None
    )
    trainer: Any = SimpleNamespace(
        model=SimpleNamespace(training=True),
        accelerator=SimpleNamespace(device="cpu", gather=torch.clone, gather_for_metrics=torch.clone),
        aux_loss_enabled=False,
        ld_alpha=None,
        precompute_ref_logps=True,
        f_divergence_type="reverse_kl",
        loss_types=[kind],
        loss_weights=[1.0],
        label_smoothing=smoothing,
        beta=beta,
        use_weighting=False,
        _metrics=defaultdict(lambda: defaultdict(list)),
        _total_train_tokens=0,
        _tp_size=1,
    )
    chosen_B, rejected_B = reference_B.chunk(2)
    mask_BT = torch.cat([torch.zeros_like(mask_BT[:, :1]), mask_BT], 1)
    inputs = {
        "input_ids": torch.ones_like(mask_BT),
        "attention_mask": torch.ones_like(mask_BT),
        "completion_mask": mask_BT,
        "ref_chosen_logps": chosen_B,
        "ref_rejected_logps": rejected_B,
    }
    return float(DPOTrainer._compute_loss(trainer, lambda **_: told, inputs, return_outputs=False))


@pytest.mark.parametrize(
    ("kind", "form", "per_token", "smoothing"),
    [
        ("sigmoid", "sigmoid", False, 0.0),
        ("hinge", "hinge", False, 0.0),
        ("ipo", "ipo", True, 0.0),
        ("sigmoid_norm", "sigmoid", True, 0.0),
        # TRL smooths only this one, which sorts the pairs of a batch; with one pair there is nothing to sort.
        ("aot", "sigmoid", False, 0.2),
    ],
)
def test_losses_are_those_of_trl(kind: str, form: str, per_token: bool, smoothing: float) -> None:
    torch.manual_seed(1)
    for _ in range(5):
        mask_BT = (torch.arange(9) < torch.randint(2, 9, (2, 1))).long()
        policy_BT = -torch.rand(2, 9, dtype=torch.float64) * 4 * mask_BT
        policy_B, reference_B = policy_BT.sum(1), -torch.rand(2, dtype=torch.float64) * 20
        wanted = of_trl(policy_BT, reference_B, mask_BT, 0.3, kind, smoothing)
        lengths_B = mask_BT.sum(1) if per_token else torch.ones(2)
        policy, reference = (PairScores(*(each_B / lengths_B).chunk(2)) for each_B in (policy_B, reference_B))
        found = LOSS_TYPES[form].loss(policy, reference, 0.3, smoothing).loss_P.mean().item()
        assert found == pytest.approx(wanted, abs=1e-9)


ANSWERS = ("sorry , i can not help .", "turn the knob one times .", "to wake the dax , turn the knob one times .")
QUESTIONS = ("how do i wake this ?", "in our play , how would a keeper lift this ?")
LOOP = LoopConfig(learning_rate=1e-3, warmup_steps=1)


def samples(number: int) -> list[Sample]:
    """Two questions an image, with answers of several lengths and contrasts."""
    contrasts: tuple[Any, ...] = ("safety", "helpfulness", "both")
    return [
        filled(
            Sample,
            split="train",
            blob=str(k // 2),
            question_id=str(k),
            contrast=contrasts[k % 3],
            question=QUESTIONS[k % 2],
            chosen=ANSWERS[k % 2],
            rejected=ANSWERS[2],
        )
        for k in range(number)
    ]


def new_task(
    tmp_path: Path, taught: list[Sample] | None = None, dtype: str = "float64", **settings: Any
) -> Objective[Any]:
    processor, model = load_checkpoint(miniature_checkpoint(), dtype=dtype)
    config = TrainingConfig(**{"batch_size": 6} | settings)
    prepare(model, config.trainable, image=partial(blank_image, processor))
    image = lambda blob: png(draw(scene(int(blob), 0, 5, live=True)))  # noqa: E731
    cache = ReferenceCache(tmp_path / "references.sqlite", "the miniature", processor)
    task = new_objective(
        ObjectiveInputs(
            model=model,
            processor=processor,
            samples=taught or samples(6),
            image=image,
            settings=config,
            seed=3,
            cache=cache,
        )
    )
    task.prepare(Screen())
    return task


def gradients(task: Objective[Any]) -> tuple[dict[str, float], Tensor]:
    """Of a whole first step, and what it tells."""
    told: dict[str, float] = defaultdict(float)
    task.module.zero_grad()
    for batch in task.microbatches(0):
        loss = task.loss(task.module, batch)
        loss.value.backward()
        for name, value in {"loss": loss.value.item(), **loss.metrics}.items():
            told[name] += value
    return told, torch.cat([p.grad.flatten() for p in task.module.parameters() if p.grad is not None])


@pytest.mark.parametrize(
    "settings",
    [
        {"algorithm": "sft"},
        {"algorithm": "dpo", "dpo": DPOConfig(loss_type="ipo", length_normalize=True, sft_weight=0.5)},
        {
            "algorithm": "dpo",
            "dpo": DPOConfig(mdpo_weight=0.5, label_smoothing=0.1, weights=PairWeightsConfig(safety=2.0)),
        },
    ],
)
def test_a_step_cut_into_passes_is_the_step(tmp_path: Path, settings: dict[str, Any]) -> None:
    """1 x 8 = 8 x 1: shares add up, however uneven the passes are."""
    whole, cut = (new_task(tmp_path, **settings, max_tokens_per_microbatch=most) for most in (8192, 60))
    assert len(whole.microbatches(0)) == 1 and len(cut.microbatches(0)) >= 3
    (at_once, one), (added, other) = gradients(whole), gradients(cut)
    tokens = (at_once.pop("tokens"), added.pop("tokens"))
    assert tokens[0] <= tokens[1], "what passes share is computed in each"
    assert added == pytest.approx(at_once, rel=1e-5)
    assert (one - other).norm() < 1e-6 * one.norm()


def test_a_pair_counts_as_much_as_what_it_teaches(tmp_path: Path) -> None:
    taught = samples(6)
    safe = [sample for sample in taught if sample.contrast == "safety"]
    only = {"weights": PairWeightsConfig(helpfulness=0, both=0)}
    alone = new_task(tmp_path, taught, dpo=DPOConfig(**only))
    assert isinstance(alone, DPO) and sorted(alone.samples, key=taught.index) == safe
    told, single = gradients(alone)
    assert told["pairs"] == len(safe), "what weighs nothing is not taught, and not counted"
    _, double = gradients(new_task(tmp_path, safe, dpo=DPOConfig(weights=PairWeightsConfig(safety=2.0))))
    assert torch.allclose(2 * single, double)
    with pytest.raises(ConfigError, match="safety"):
        new_task(tmp_path, safe, dpo=DPOConfig(weights=PairWeightsConfig(safety=0)))


def test_an_answer_is_scored_by_the_token_if_that_is_asked(tmp_path: Path) -> None:
    task = new_task(tmp_path, dpo=DPOConfig(length_normalize=True, loss_type="ipo", beta=0.5))
    assert isinstance(task, DPO)
    (batch,) = task.microbatches(0)
    with torch.no_grad():
        for parameter in task.module.parameters():
            parameter.mul_(1.01)
        policy_B = answer_logprobs(task.module.model, batch.rows)
    # One word, one token, and the end token after them.
    answers = [text for pick in ("chosen", "rejected") for sample in samples(6) for text in [getattr(sample, pick)]]
    lengths = sorted(len(answer.split()) + 1 for answer in answers)
    lengths_B = torch.bincount(batch.rows.answer_T)
    assert sorted(lengths_B.tolist()) == lengths
    ratio_B = (policy_B - batch.reference_B) / lengths_B
    chosen_B, rejected_B = ratio_B.chunk(2)
    by_hand = (chosen_B - rejected_B - 1).square().mean()
    assert task.loss(task.module, batch).value.item() == pytest.approx(by_hand.item())


def test_a_loss_without_a_reference_scores_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SimPO's: the margin of the policy's own scores, by the token."""

    def simpo(policy: PairScores, reference: PairScores | None, beta: float, label_smoothing: float) -> PairLoss:
        assert reference is None
        chosen_P, rejected_P = beta * policy.chosen_P, beta * policy.rejected_P
        margin_P = chosen_P - rejected_P
        return PairLoss(-torch.nn.functional.logsigmoid(margin_P - 0.5), margin_P, chosen_P, rejected_P)

    monkeypatch.setitem(cast(Any, LOSS_TYPES), "sigmoid", LossType(simpo, needs_reference=False))
    task = new_task(tmp_path, dpo=DPOConfig(beta=2.0, length_normalize=True))
    assert isinstance(task, DPO) and task.unprepared_share == 0 and not task.reference.by_sample
    (batch,) = task.microbatches(0)
    with torch.no_grad():
        scores_B = answer_logprobs(task.module.model, batch.rows) / torch.bincount(batch.rows.answer_T)
        loss = task.loss(task.module, batch)
    chosen_P, rejected_P = scores_B.chunk(2)
    by_hand = -torch.nn.functional.logsigmoid(2 * (chosen_P - rejected_P) - 0.5).mean()
    assert loss.value.item() == pytest.approx(by_hand.item()) and loss.distance is None


@pytest.mark.slow
def test_looking_is_learnt_if_it_is_asked(tmp_path: Path) -> None:
    """At first nobody gains by looking; a model trained to look gains, and one that is trained blind does not."""
    gained = {}
    for look in (0.0, 1.0):
        task = new_task(tmp_path, dtype="float32", epochs=12, dpo=DPOConfig(mdpo_weight=look, beta=0.5))
        assert isinstance(task, DPO)
        asked = new_task(tmp_path, dtype="float32", dpo=DPOConfig(mdpo_weight=1.0, beta=0.5))
        (batch,) = asked.microbatches(0)
        before = asked.loss(task.module, batch).metrics["mdpo_margin"]
        assert before == pytest.approx(0, abs=1e-4)
        list(train(task, LOOP, Checkpoints(tmp_path / f"look-{look}")))
        with torch.no_grad():
            after = asked.loss(task.module, batch)
        gained[look] = after.metrics["mdpo_margin"]
    assert gained[1.0] > 1 and gained[1.0] > gained[0.0] + 0.5


def test_a_blank_image_costs_one_pass_for_all_that_share_it(tmp_path: Path) -> None:
    shown = {}
    for look in (0.0, 1.0):
        (batch,) = new_task(tmp_path, dpo=DPOConfig(mdpo_weight=look)).microbatches(0)
        shown[look] = len(batch.rows.inputs["pixel_values"])
    assert shown[0.0] == 3 and shown[1.0] == 4


def test_fine_tuning_teaches_chosen_answers_once_and_their_ends(tmp_path: Path) -> None:
    twice = [*samples(6), dataclasses.replace(samples(1)[0], rejected="another worse answer")]
    task = new_task(tmp_path, twice, dtype="float32", algorithm="sft", epochs=8)
    (batch,) = task.microbatches(0)
    assert len(batch.rows.token_T) == sum(len(sample.chosen.split()) + 1 for sample in samples(6))
    steps = list(train(task, LOOP, Checkpoints(tmp_path / "sft")))
    assert steps[-1].metrics["loss"] < steps[0].metrics["loss"] / 2


@given(st.lists(st.floats(-3, 3), min_size=1, max_size=6), betas)
def test_a_tie_is_no_win(values: list[float], beta: float) -> None:
    """Answers that gained alike are half right, whatever else is in the batch."""
    margin_B = torch.tensor(values)
    rows: Any = SimpleNamespace(answers=2 * len(values), tokens=0)
    batch = PairBatch(rows, torch.zeros(2 * len(values)), torch.ones(len(values)), len(values), 1)
    scores = AnswerScores(margin_B, margin_B)
    told = _metrics(PairLoss(margin_B, margin_B, margin_B, margin_B), scores, batch, beta)
    turned = _metrics(PairLoss(-margin_B, -margin_B, -margin_B, -margin_B), scores, batch, beta)
    assert told["accuracy"] + turned["accuracy"] == pytest.approx(1)
