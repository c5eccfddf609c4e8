"""What reinforcement learning is made of, as pure functions: credit on one answer's tokens, and clipped losses.

Credit is given answer by answer, in plain lists as long as the answer. So a reward cannot land
on another's tokens or on padding, as it did where answers lay padded in one table.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class ClippedLoss(NamedTuple):
    loss_T: Tensor
    # Where the clip took the gradient away.
    held_T: Tensor


def policy_loss(logprob_T: Tensor, old_T: Tensor, advantage_T: Tensor, clip: float) -> ClippedLoss:
    """PPO's surrogate (arXiv 1707.06347): no gain from moving a token further than the clip allows."""
    ratio_T = (logprob_T - old_T).exp()
    free_T = -advantage_T * ratio_T
    bound_T = -advantage_T * ratio_T.clamp(1 - clip, 1 + clip)
    return ClippedLoss(torch.maximum(free_T, bound_T), bound_T > free_T)


def value_loss(value_T: Tensor, old_T: Tensor, return_T: Tensor, clip: float) -> ClippedLoss:
    """Half the squared error, or that of a value held near its old one where that is the greater."""
    free_T = (value_T - return_T).square()
    bound_T = (old_T + (value_T - old_T).clamp(-clip, clip) - return_T).square()
    return ClippedLoss(0.5 * torch.maximum(free_T, bound_T), bound_T > free_T)


def k3(logprob_T: Tensor, reference_T: Tensor) -> Tensor:
    """An estimate of the divergence from the reference that is never negative and can be learnt from."""
    log_ratio_T = reference_T - logprob_T
    return log_ratio_T.exp() - 1 - log_ratio_T


def rewards_of_tokens(
    reward: float, logprobs: Sequence[float], reference: Sequence[float], coefficient: float
) -> list[float]:
    """Each token pays for leaving the reference; the answer's reward comes with its last token."""
    paid = [-coefficient * (logprob - before) for logprob, before in zip(logprobs, reference, strict=True)]
    paid[-1] += reward
    return paid


def advantages(rewards: Sequence[float], values: Sequence[float], gamma: float, lam: float) -> list[float]:
    """Generalised advantage estimation (arXiv 1506.02438) over one answer, after whose end nothing comes."""
    found, ahead, value_after = [], 0.0, 0.0
    for reward, value in zip(reversed(rewards), reversed(values), strict=True):
        ahead = reward + gamma * value_after - value + gamma * lam * ahead
        value_after = value
        found.append(ahead)
    return found[::-1]


def group_advantages(rewards: Sequence[float], scaled: bool) -> list[float]:
    """How much better an answer is than the others to its question (arXiv 2402.03300): no critic is needed."""
    mean = sum(rewards) / len(rewards)
    spread = (sum((reward - mean) ** 2 for reward in rewards) / len(rewards)) ** 0.5
    # Answers of like reward have nothing to teach, and their rounding is not to be blown up.
    scale = 1 / spread if scaled and spread > 1e-6 else 1.0
    return [(reward - mean) * scale for reward in rewards]


def whitened(values: Sequence[Sequence[float]], keep_mean: bool = False) -> list[list[float]]:
    """The tokens' values of all answers of a step, at a spread of one, round nothing or round their own mean."""
    flat = [value for each in values for value in each]
    mean = sum(flat) / len(flat)
    spread = max(1e-6, (sum((value - mean) ** 2 for value in flat) / len(flat)) ** 0.5)
    return [[(value - mean) / spread + (mean if keep_mean else 0.0) for value in each] for each in values]


def adapted(coefficient: float, kl: float, target: float, answers: int, horizon: int) -> float:
    """The price of leaving the reference, raised where a step's answers went too far (arXiv 1909.08593)."""
    error = min(0.2, max(-0.2, kl / target - 1))
    return coefficient * (1 + error * answers / horizon)
