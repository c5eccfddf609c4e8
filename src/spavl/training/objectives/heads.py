"""Models with a scalar head: the reward of an answer, and the value of each of its tokens."""

from typing import Any

import torch
from torch import Tensor, nn

from spavl.training.model.anatomy import head_of
from spavl.training.prefix_trees.batch import TreeBatch
from spavl.training.prefix_trees.logprobs import answer_token_logprobs, hidden_states, words_scored


class ScalarHead(nn.Module):
    """One number for each hidden state. It is initialized to zero.

    It is not an nn.Linear, so that autocast keeps it in its own precision: a reward in bfloat16 would be rounded.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        kind = torch.float64 if model.dtype == torch.float64 else torch.float32
        width = model.config.get_text_config().hidden_size
        self.weight = nn.Parameter(torch.zeros(width, dtype=kind, device=model.device))
        # One axis, since a scalar parameter cannot be sharded.
        self.bias = nn.Parameter(torch.zeros(1, dtype=kind, device=model.device))

    def forward(self, states_NH: Tensor) -> Tensor:
        return (states_NH.to(self.weight.dtype) * self.weight).sum(-1) + self.bias


class RewardScorer(nn.Module):
    """Returns the reward of each answer of a batch, read at its end token."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model, self.head = model, ScalarHead(model)
        words = head_of(model)
        if words is not None and words.weight is not model.get_input_embeddings().weight:
            # The head is not used, and processes would wait for its gradients.
            words.requires_grad_(False)

    def forward(self, batch: TreeBatch) -> Tensor:
        reward_B: Tensor = self.head(hidden_states(self.model, batch)[batch.end_row_B, batch.end_place_B])
        return reward_B


class PolicyScorer(nn.Module):
    """Returns the log-probability of each answer token of a batch, and the value before it."""

    def __init__(self, model: Any, critic: bool) -> None:
        super().__init__()
        self.model = model
        self.head = ScalarHead(model) if critic else None

    def forward(self, batch: TreeBatch) -> tuple[Tensor, Tensor]:
        if self.head is None:
            logprobs_T = answer_token_logprobs(self.model, batch)
            return logprobs_T, logprobs_T.detach() * 0
        hidden_TH = hidden_states(self.model, batch)[batch.row_T, batch.place_T]
        return words_scored(self.model, hidden_TH, batch.token_T), self.head(hidden_TH)
