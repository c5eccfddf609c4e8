"""Token rewards, advantages and clipped losses as pure functions.

Advantages are computed answer by answer, in lists as long as the answer. So a reward can never reach the tokens of
another answer or padding.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class ClippedLoss(NamedTuple):
    loss_T: Tensor
    # Where clipping removes the gradient.
    clipped_T: Tensor


def policy_loss(logprob_T: Tensor, old_T: Tensor, advantage_T: Tensor, clip: float) -> ClippedLoss:
    """PPO's clipped surrogate objective (arXiv 1707.06347)."""
    ratio_T = (logprob_T - old_T).exp()
    plain_T = -advantage_T * ratio_T
    clipped_T = -advantage_T * ratio_T.clamp(1 - clip, 1 + clip)
    return ClippedLoss(torch.maximum(plain_T, clipped_T), clipped_T > plain_T)


def value_loss(value_T: Tensor, old_T: Tensor, return_T: Tensor, clip: float) -> ClippedLoss:
    """Half the squared error of the value or of the clipped value, whichever is larger."""
    plain_T = (value_T - return_T).square()
    clipped_T = (old_T + (value_T - old_T).clamp(-clip, clip) - return_T).square()
    return ClippedLoss(0.5 * torch.maximum(plain_T, clipped_T), clipped_T > plain_T)


def k3(logprob_T: Tensor, reference_T: Tensor) -> Tensor:
    """The k3 estimate of the KL divergence from the reference: never negative, and differentiable."""
    log_ratio_T = reference_T - logprob_T
    return log_ratio_T.exp() - 1 - log_ratio_T


def token_rewards(reward: float, logprobs: Sequence[float], reference: Sequence[float], kl_coef: float) -> list[float]:
    """A KL penalty at each token; the reward of the answer is added at its last token."""
    rewards = [-kl_coef * (policy - before) for policy, before in zip(logprobs, reference, strict=True)]
    rewards[-1] += reward
    return rewards


def advantages(rewards: Sequence[float], values: Sequence[float], gamma: float, lam: float) -> list[float]:
    """Generalized advantage estimation (arXiv 1506.02438) over one answer; the value after its end is 0."""
    found, advantage, next_value = [], 0.0, 0.0
    for reward, value in zip(reversed(rewards), reversed(values), strict=True):
        advantage = reward + gamma * next_value - value + gamma * lam * advantage
        next_value = value
        found.append(advantage)
    return found[::-1]


def group_advantages(rewards: Sequence[float], scaled: bool) -> list[float]:
    """GRPO: rewards relative to the other answers to the same question (arXiv 2402.03300); no critic is needed."""
    mean = sum(rewards) / len(rewards)
    spread = (sum((reward - mean) ** 2 for reward in rewards) / len(rewards)) ** 0.5
    # Equal rewards give no advantage; without the bound their rounding errors would be scaled up.
    scale = 1 / spread if scaled and spread > 1e-6 else 1.0
    return [(reward - mean) * scale for reward in rewards]


def whiten_values(values: Sequence[Sequence[float]], keep_mean: bool = False) -> list[list[float]]:
    """The token values of all answers of a step, scaled to a standard deviation of 1; the mean becomes 0 or is kept."""
    flat = [value for each in values for value in each]
    mean = sum(flat) / len(flat)
    spread = max(1e-6, (sum((value - mean) ** 2 for value in flat) / len(flat)) ** 0.5)
    return [[(value - mean) / spread + (mean if keep_mean else 0.0) for value in each] for each in values]


def adapted_kl_coef(kl_coef: float, kl: float, target: float, answers: int, horizon: int) -> float:
    """The adaptive KL controller (arXiv 1909.08593): a larger coefficient if the KL was above its target."""
    error = min(0.2, max(-0.2, kl / target - 1))
    return kl_coef * (1 + error * answers / horizon)
