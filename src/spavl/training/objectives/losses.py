"""Losses as pure functions of log-probabilities. A name ends with its axes: B rows, P pairs, T tokens, V vocabulary."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

# A loss as a function of the margin between the rewards of two answers. `beta` is already in the margin.
MarginLoss = Callable[[Tensor, float], Tensor]


class PairScores(NamedTuple):
    """The log-probabilities of the chosen and the rejected answer of each pair under one model."""

    chosen_P: Tensor
    rejected_P: Tensor


class PairLoss(NamedTuple):
    loss_P: Tensor
    margin_P: Tensor
    chosen_reward_P: Tensor
    rejected_reward_P: Tensor


# The loss of pairs, given the scores of the policy and of the reference (if there is one), beta and label smoothing.
PairLossFunction = Callable[[PairScores, PairScores | None, float, float], PairLoss]


class LossType(NamedTuple):
    """A loss on pairs that a setting can name, and whether it compares the policy with a reference."""

    loss: PairLossFunction
    needs_reference: bool


def sigmoid(margin_P: Tensor, beta: float) -> Tensor:
    """DPO: the negative log-likelihood of the preference under the Bradley-Terry model (arXiv 2305.18290)."""
    return -F.logsigmoid(margin_P)


def hinge(margin_P: Tensor, beta: float) -> Tensor:
    """SLiC: zero from a margin of one on (arXiv 2305.10425)."""
    return F.relu(1 - margin_P)


def ipo(margin_P: Tensor, beta: float) -> Tensor:
    """IPO: the squared distance to a log-ratio of 1 / (2 beta), so that unambiguous pairs are not overfitted
    (arXiv 2310.12036)."""
    return (margin_P / beta - 1 / (2 * beta)).square()


def dpo_loss(
    policy: PairScores,
    reference: PairScores | None,
    beta: float,
    label_smoothing: float = 0.0,
    margin_loss: MarginLoss = sigmoid,
) -> PairLoss:
    """Direct preference optimization (arXiv 2305.18290) on the log-probabilities of whole answers.

    The reward of an answer is beta times the log-ratio of policy and reference. The loss is a function of the margin
    between the rewards of the chosen and the rejected answer. `label_smoothing` is the assumed fraction of pairs whose
    labels are swapped.
    """
    if reference is None:
        raise ValueError("DPO compares the policy with a reference")
    chosen_reward_P = beta * (policy.chosen_P - reference.chosen_P)
    rejected_reward_P = beta * (policy.rejected_P - reference.rejected_P)
    margin_P = chosen_reward_P - rejected_reward_P
    loss_P = (1 - label_smoothing) * margin_loss(margin_P, beta)
    if label_smoothing:
        loss_P = loss_P + label_smoothing * margin_loss(-margin_P, beta)
    return PairLoss(loss_P, margin_P, chosen_reward_P, rejected_reward_P)


def dpo_with(margin_loss: MarginLoss) -> LossType:
    """DPO with another function of the margin."""
    return LossType(partial(dpo_loss, margin_loss=margin_loss), needs_reference=True)


LOSS_TYPES: Mapping[str, LossType] = {"sigmoid": dpo_with(sigmoid), "hinge": dpo_with(hinge), "ipo": dpo_with(ipo)}


def mdpo_loss(
    policy_chosen_P: Tensor,
    policy_blank_P: Tensor,
    reference_chosen_P: Tensor,
    reference_blank_P: Tensor,
    beta: float,
) -> PairLoss:
    """mDPO's conditional preference (arXiv 2406.11839): the chosen answer with its image over the same with a blank.

    A policy that ignores the image gives both the same reward, and has the loss of a margin of zero.
    """
    policy, reference = PairScores(policy_chosen_P, policy_blank_P), PairScores(reference_chosen_P, reference_blank_P)
    return dpo_loss(policy, reference, beta)


def token_logprobs(logits_TV: Tensor, tokens_T: Tensor) -> Tensor:
    """The log-probability of each token under the logits at its place, in float32 at least."""
    logits_TV = logits_TV if logits_TV.dtype == torch.float64 else logits_TV.float()
    return logits_TV.log_softmax(-1).gather(-1, tokens_T[:, None])[:, 0]


def sft_loss(logprobs_T: Tensor) -> Tensor:
    """Supervised fine-tuning: the mean negative log-likelihood of the answers' tokens."""
    return -logprobs_T.mean()


def bradley_terry(chosen_P: Tensor, rejected_P: Tensor, margin_P: Tensor) -> Tensor:
    """The negative log-likelihood of the preference under the Bradley-Terry model, with a margin (arXiv 2307.09288)."""
    return -F.logsigmoid(chosen_P - rejected_P - margin_P)
