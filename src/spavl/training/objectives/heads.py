"""Models that give numbers: what an answer is worth, and what is still to come at each of its tokens."""

from typing import Any

import torch
from torch import Tensor, nn

from spavl.training.model.anatomy import head_of
from spavl.training.prefix_trees.batch import TreeBatch
from spavl.training.prefix_trees.logprobs import answer_token_logprobs, hidden_states, words_scored


class ScalarHead(nn.Module):
    """One number for each state. It starts as none at all, the same for everything.

    Written out, so that autocast leaves it in its own precision: a reward in bfloat16 would come in steps.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        kind = torch.float64 if model.dtype == torch.float64 else torch.float32
        width = model.config.get_text_config().hidden_size
        self.weight = nn.Parameter(torch.zeros(width, dtype=kind, device=model.device))
        # Not a bare number: those cannot be spread over processes.
        self.bias = nn.Parameter(torch.zeros(1, dtype=kind, device=model.device))

    def forward(self, states_NH: Tensor) -> Tensor:
        return (states_NH.to(self.weight.dtype) * self.weight).sum(-1) + self.bias


class RewardScorer(nn.Module):
    """Called with a batch, it gives every answer's reward, read off its end token: there all of it has been read."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model, self.head = model, ScalarHead(model)
        words = head_of(model)
        if words is not None and words.weight is not model.get_input_embeddings().weight:
            # It speaks no words, and processes would wait for gradients that never come.
            words.requires_grad_(False)

    def forward(self, batch: TreeBatch) -> Tensor:
        reward_B: Tensor = self.head(hidden_states(self.model, batch)[batch.end_row_B, batch.end_place_B])
        return reward_B


class PolicyScorer(nn.Module):
    """Called with a batch, it gives every answer token's log-probability, and its value before it was spoken."""

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
