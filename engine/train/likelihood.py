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
LOGITS_AT_ONCE = 2**24  # most logits of one forward without gradient: 67 MB, whatever the vocabulary


def token_losses(model: LanguageModel, batch: Batch) -> Tensor:
    """Negative log-probability in nats of each token under the loss mask, (N,), in row order; gradient flows.

    The unembedding is applied only to the states before those tokens.
    """
    hidden = model(batch.tokens[:, :-1])  # state t predicts token t + 1
    wanted = batch.loss_mask[:, 1:]
    return cross_entropy(model.logits(hidden[wanted]), batch.tokens[:, 1:][wanted])


def mean_loss(model: LanguageModel, examples: Sequence[Example], pad: int) -> float:
    """Mean loss in nats a learned token over all `examples`."""
    total, count = total_loss(model, examples, pad)
    return total / count


@torch.no_grad()
def total_loss(model: LanguageModel, examples: Sequence[Example], pad: int) -> tuple[float, int]:
    """The loss in nats summed over the tokens to learn of all `examples`, and the number of these tokens."""
    device = model.model.embed_tokens.weight.device
    total, count = 0.0, 0
    for block in _blocks(examples, model.architecture.vocab_size):
        losses = token_losses(model, collate(block, pad, device))
        total, count = total + float(losses.sum()), count + losses.numel()
    return total, count


def text_bytes(examples: Sequence[Example], tokenizer: Tokenizer) -> int:
    """UTF-8 bytes of the text that the tokens to learn of `examples` spell, and of no other token."""
    return sum(sum(tokenizer.byte_counts(example.ids)[max(1, example.loss_start) :]) for example in examples)


def bits_per_byte(nats: float, spelled: int) -> float:
    """Bits a byte of a text of `spelled` bytes that costs `nats`; comparable between vocabularies."""
    return nats / math.log(2) / spelled


def _blocks(examples: Sequence[Example], vocabulary: int) -> Iterator[list[Example]]:
    """The examples by rising length, as many at once as EVALUATION_ROWS and LOGITS_AT_ONCE allow."""
    block: list[Example] = []
    for example in sorted(examples, key=lambda example: len(example.ids)):
        logits = (len(block) + 1) * len(example.ids) * vocabulary
        if block and (len(block) == EVALUATION_ROWS or logits > LOGITS_AT_ONCE):
            yield block
            block = []
        block.append(example)
    yield block
