"""Likelihood of rows under a language model: the loss of pretraining and SFT, and the loss of held-out rows."""

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from engine.algorithms.losses import cross_entropy
from engine.model.batching import Batch, Example, collate
from engine.model.tokenizer import Tokenizer
from engine.model.transformer import LanguageModel

EVALUATION_ROWS = 128
LOGITS_AT_ONCE = 2**24  # the most logits of one forward without gradient: 67 MB for any vocabulary


def token_losses(model: LanguageModel, batch: Batch) -> Tensor:
    """Negative log-probability in nats of each token under the loss mask, (N,), in row order; gradient flows.

    The unembedding is applied only to the states before those tokens.
    """
    # The shift by one: the state at position t has read tokens 0..t and predicts token t + 1. So the last token is no
    # input, the first no target, and the loss mask shifts with the targets.
    hidden = model(batch.tokens[:, :-1])  # (B,T-1,C)
    wanted = batch.loss_mask[:, 1:]
    # Select first, unembed second: logits of the N wanted tokens only, never (B,T,V).
    return cross_entropy(model.logits(hidden[wanted]), batch.tokens[:, 1:][wanted])  # (N,)


def mean_loss(model: LanguageModel, examples: Sequence[Example], pad: int) -> float:
    """Mean loss over all `examples`, in nats per token under the loss mask."""
    total, count = total_loss(model, examples, pad)
    return total / count


@torch.no_grad()
def total_loss(model: LanguageModel, examples: Sequence[Example], pad: int) -> tuple[float, int]:
    """The loss in nats summed over the tokens under the loss mask of all `examples`, and the number of these tokens."""
    device = model.model.embed_tokens.weight.device
    total, count = 0.0, 0
    for block in _blocks(examples, model.architecture.vocab_size):
        losses = token_losses(model, collate(block, pad, device))
        # A sum of sums over a sum of counts: a mean of block means would weigh tokens of short blocks more.
        total, count = total + float(losses.sum()), count + losses.numel()
    return total, count


def text_bytes(examples: Sequence[Example], tokenizer: Tokenizer) -> int:
    """UTF-8 bytes of the text that the tokens under the loss mask of `examples` decode to."""
    return sum(sum(tokenizer.byte_counts(example.ids)[max(1, example.loss_start) :]) for example in examples)


def bits_per_byte(nats: float, size: int) -> float:
    """Bits per byte of a text of `size` bytes with a loss of `nats`."""
    # A larger vocabulary has fewer tokens and more nats in each; per byte of text the two cancel.
    return nats / math.log(2) / size


def _blocks(examples: Sequence[Example], vocabulary: int) -> Iterator[list[Example]]:
    """The examples by increasing length, as many at once as EVALUATION_ROWS and LOGITS_AT_ONCE allow."""
    block: list[Example] = []
    # By length, so that rows of one block need little padding; the sum over all rows does not depend on the order.
    for example in sorted(examples, key=lambda example: len(example.ids)):
        logits = (len(block) + 1) * len(example.ids) * vocabulary
        if block and (len(block) == EVALUATION_ROWS or logits > LOGITS_AT_ONCE):
            yield block
            block = []
        block.append(example)
    yield block
