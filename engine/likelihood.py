"""How likely a language model finds given rows: the loss of pretraining and fine-tuning, and its held-out mean."""

from collections.abc import Sequence

import torch
from torch import Tensor

from engine.batching import Batch, Example, collate
from engine.losses import cross_entropy
from engine.transformer import LanguageModel

EVALUATION_ROWS = 128


def token_losses(model: LanguageModel, batch: Batch) -> Tensor:
    """Negative log-probability in nats of each token to learn, (N,), in row order; gradient flows to the model.

    The unembedding is applied to the states before those tokens alone.
    """
    hidden = model(batch.tokens[:, :-1])  # state t predicts token t + 1
    wanted = batch.learn[:, 1:]
    return cross_entropy(model.logits(hidden[wanted]), batch.tokens[:, 1:][wanted])


@torch.no_grad()
def mean_loss(model: LanguageModel, examples: Sequence[Example], pad: int) -> float:
    """Mean loss in nats a learned token over all `examples`."""
    device = model.model.embed_tokens.weight.device
    ordered = sorted(examples, key=lambda example: len(example.ids))
    total, count = 0.0, 0
    for start in range(0, len(ordered), EVALUATION_ROWS):
        losses = token_losses(model, collate(ordered[start : start + EVALUATION_ROWS], pad, device))
        total, count = total + float(losses.sum()), count + losses.numel()
    return total / count
