"""Losses as pure functions of log-probabilities. A name's ending tells its axes: B rows, T tokens, V words."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class DPOLoss(NamedTuple):
    loss_B: Tensor
    margin_B: Tensor
    chosen_reward_B: Tensor
    rejected_reward_B: Tensor


def dpo_loss(
    policy_chosen_B: Tensor,
    policy_rejected_B: Tensor,
    reference_chosen_B: Tensor,
    reference_rejected_B: Tensor,
    beta: float,
) -> DPOLoss:
    """Direct preference optimisation (arXiv 2305.18290) on summed log-probabilities of whole answers.

    The reward of an answer is beta times how much likelier the policy finds it than the
    reference does; the loss asks that the chosen answer's reward be the greater one.
    """
    chosen_reward_B = beta * (policy_chosen_B - reference_chosen_B)
    rejected_reward_B = beta * (policy_rejected_B - reference_rejected_B)
    margin_B = chosen_reward_B - rejected_reward_B
    return DPOLoss(-F.logsigmoid(margin_B), margin_B, chosen_reward_B, rejected_reward_B)


def token_logprobs(logits_TV: Tensor, tokens_T: Tensor) -> Tensor:
    """The log-probability of each token under the logits at its place, in float32 at least."""
    logits_TV = logits_TV if logits_TV.dtype == torch.float64 else logits_TV.float()
    return logits_TV.log_softmax(-1).gather(-1, tokens_T[:, None])[:, 0]


def sft_loss(logprobs_T: Tensor) -> Tensor:
    """Supervised fine-tuning: the mean surprise of the answers' tokens."""
    return -logprobs_T.mean()
