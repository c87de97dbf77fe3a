"""Scalar heads: one number a position in place of the unembedding. The reward model and the value network.

The layout is that of transformers' sequence classifiers (one label, no bias), so a reward model opens there.
"""

import math

import torch
from torch import Tensor, nn

from engine.model.transformer import Architecture, Decoder, Layout


class ScalarModel(nn.Module):
    """A decoder whose head gives one number at each position.

    `bias`, kept in slmctl.json, is subtracted from what transformers gives, so that demonstrations average 0.
    """

    bias: Tensor

    def __init__(self, architecture: Architecture, bias: float = 0.0):
        super().__init__()
        self.architecture = architecture
        self.model = Decoder(architecture)
        self.score = nn.Linear(architecture.width, 1, bias=False)
        self.register_buffer("bias", torch.tensor(bias), persistent=False)

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Logit less bias at every position, (B,T), of `tokens` (B,T); `mask` as in Decoder."""
        numbers: Tensor = self.score(self.model(tokens, mask)).squeeze(-1) - self.bias
        return numbers

    def scores(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """The score of each row, (B,): the number at its last real token. Rows are padded on the right.

        `lengths` (B,) int64 counts real tokens. Other positions of a reward model mean nothing.
        """
        hidden = self.model(tokens)[torch.arange(len(tokens), device=tokens.device), lengths - 1]  # (B,C)
        rewards: Tensor = self.score(hidden).squeeze(-1) - self.bias
        return rewards

    def scores_at(self, tokens: Tensor, layout: Layout, ends: Tensor) -> Tensor:
        """The numbers (N,) at `ends` (N,) int64, places in the flattened (B*T) `tokens` (B,T) laid out by `layout`."""
        hidden = self.model(tokens, layout=layout).flatten(0, 1)[ends]  # (N,C)
        rewards: Tensor = self.score(hidden).squeeze(-1) - self.bias
        return rewards


def scalar_from(backbone: Decoder, generator: torch.Generator | None) -> ScalarModel:
    """A scalar model with a copy of `backbone`; its head is drawn from N(0, 1/sqrt(C+1)), or 0 without a generator.

    Source: Stiennon et al. 2020 for the reward head; a value head not taken from a reward model starts at 0.
    """
    model = ScalarModel(backbone.architecture)
    model.model.load_state_dict(backbone.state_dict())
    with torch.no_grad():
        if generator is None:
            model.score.weight.zero_()
        else:
            model.score.weight.normal_(0.0, 1 / math.sqrt(backbone.architecture.width + 1), generator=generator)
    return model.to(backbone.embed_tokens.weight.device)
