"""Losses as pure functions of log-probabilities. A name's ending tells its axes: B rows, T tokens, V words."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

# What a preference asks of the margin between two rewards. `beta` is already in the margin.
Form = Callable[[Tensor, float], Tensor]


class DPOLoss(NamedTuple):
    loss_B: Tensor
    margin_B: Tensor
    chosen_reward_B: Tensor
    rejected_reward_B: Tensor


def sigmoid(margin_B: Tensor, beta: float) -> Tensor:
    """The surprise that the chosen answer won, under Bradley and Terry's model (arXiv 2305.18290)."""
    return -F.logsigmoid(margin_B)


def hinge(margin_B: Tensor, beta: float) -> Tensor:
    """Asks for a margin of one, and then leaves the pair alone (SLiC, arXiv 2305.10425)."""
    return F.relu(1 - margin_B)


def ipo(margin_B: Tensor, beta: float) -> Tensor:
    """Asks for a ratio of 1 / 2 beta and no more, so that sure pairs are not learnt by heart (arXiv 2310.12036)."""
    return (margin_B / beta - 1 / (2 * beta)).square()


FORMS: Mapping[str, Form] = {"sigmoid": sigmoid, "hinge": hinge, "ipo": ipo}


def dpo_loss(
    policy_chosen_B: Tensor,
    policy_rejected_B: Tensor,
    reference_chosen_B: Tensor,
    reference_rejected_B: Tensor,
    beta: float,
    form: Form = sigmoid,
    smoothing: float = 0.0,
) -> DPOLoss:
    """Direct preference optimisation (arXiv 2305.18290) on the log-probabilities of whole answers.

    The reward of an answer is beta times how much likelier the policy finds it than the
    reference does; the loss asks that the chosen answer's reward be the greater one.
    `smoothing` is the share of pairs that are taken to be labelled the wrong way round.
    """
    chosen_reward_B = beta * (policy_chosen_B - reference_chosen_B)
    rejected_reward_B = beta * (policy_rejected_B - reference_rejected_B)
    margin_B = chosen_reward_B - rejected_reward_B
    loss_B = (1 - smoothing) * form(margin_B, beta)
    if smoothing:
        loss_B = loss_B + smoothing * form(-margin_B, beta)
    return DPOLoss(loss_B, margin_B, chosen_reward_B, rejected_reward_B)


def look_loss(
    policy_shown_B: Tensor,
    policy_blank_B: Tensor,
    reference_shown_B: Tensor,
    reference_blank_B: Tensor,
    beta: float,
) -> DPOLoss:
    """mDPO's conditional preference (arXiv 2406.11839): the chosen answer with its image, over the same without.

    A policy that answers without looking gives both the same reward, and has the loss of no margin.
    """
    return dpo_loss(policy_shown_B, policy_blank_B, reference_shown_B, reference_blank_B, beta)


def token_logprobs(logits_TV: Tensor, tokens_T: Tensor) -> Tensor:
    """The log-probability of each token under the logits at its place, in float32 at least."""
    logits_TV = logits_TV if logits_TV.dtype == torch.float64 else logits_TV.float()
    return logits_TV.log_softmax(-1).gather(-1, tokens_T[:, None])[:, 0]


def sft_loss(logprobs_T: Tensor) -> Tensor:
    """Supervised fine-tuning: the mean surprise of the answers' tokens."""
    return -logprobs_T.mean()


def bradley_terry(chosen_P: Tensor, rejected_P: Tensor, margin_P: Tensor) -> Tensor:
    """The surprise that the answer of reward `chosen` won, which is asked to lead by `margin` (arXiv 2307.09288)."""
    return -F.logsigmoid(chosen_P - rejected_P - margin_P)
