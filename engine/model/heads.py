"""Scalar heads: one number a position in place of the unembedding. The reward model and the value network.

The layout is that of transformers' sequence classifiers (one label, no bias), so transformers opens a reward model.
"""

import math

import torch
from torch import Tensor, nn

from engine.model.transformer import Architecture, Decoder, Layout


class ScalarModel(nn.Module):
    """A decoder with a head that gives one number at each position.

    `bias`, saved in slmctl.json, is subtracted from the number that transformers gives, so that demonstrations average
    0: the loss of a reward model depends on differences alone and leaves the level open.
    """

    bias: Tensor

    def __init__(self, architecture: Architecture, bias: float = 0.0):
        super().__init__()
        self.architecture = architecture
        self.model = Decoder(architecture)
        self.score = nn.Linear(architecture.width, 1, bias=False)
        self.register_buffer("bias", torch.tensor(bias), persistent=False)

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """The number at every position, (B,T), of `tokens` (B,T); `mask` as in Decoder."""
        return self.head(self.model(tokens, mask))

    def head(self, hidden: Tensor) -> Tensor:
        """The numbers (...) of hidden states (...,C): the logit minus the bias."""
        numbers: Tensor = self.score(hidden).squeeze(-1) - self.bias
        return numbers

    def scores(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """The score of each row, (B,): the number at its last real token. Rows are padded on the right.

        `lengths` (B,) int64 counts real tokens.
        """
        # only the last token has read the whole response; a reward model is not trained at any other position
        return self.head(self.model(tokens)[torch.arange(len(tokens), device=tokens.device), lengths - 1])

    def scores_at(self, tokens: Tensor, layout: Layout, ends: Tensor) -> Tensor:
        """The numbers (N,) at `ends` (N,) int64, indices in the flattened (B*T) `tokens` (B,T) with this `layout`."""
        return self.head(self.model(tokens, layout=layout).flatten(0, 1)[ends])


def scalar_from(backbone: Decoder, generator: torch.Generator | None) -> ScalarModel:
    """A scalar model with a copy of `backbone`; its head is drawn from N(0, 1/(C+1)), or 0 without a generator.

    Source: Stiennon et al. 2020 for the reward head. A value head that is not taken from a reward model starts at 0.
    """
    model = ScalarModel(backbone.architecture)
    model.model.load_state_dict(backbone.state_dict())
    model.model.compute_dtype = backbone.compute_dtype
    with torch.no_grad():
        if generator is None:
            # values of 0 make the first advantages the rewards that follow, instead of those plus a random guess
            model.score.weight.zero_()
        else:
            # final states have root mean square near 1, so this makes scores of about 1 that differ between responses
            model.score.weight.normal_(0.0, 1 / math.sqrt(backbone.architecture.width + 1), generator=generator)
    return model.to(backbone.embed_tokens.weight.device)
