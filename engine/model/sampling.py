"""Random streams and batched generation: prompts as ids in, responses as ids out, each row stopping by itself.

Log-probabilities are not computed here: PPO takes them from the function that training uses (logprobs.py).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.core.seeding import derive_seed
from engine.model.transformer import Cache, LanguageModel

COMPACT_BELOW = 0.75  # rows still running, as a share of the batch, below which finished rows are dropped


def generator(seed: int, stream: str, step: int = 0) -> torch.Generator:
    """A fresh CPU generator for `stream` at `step`; the same three always give the same numbers, so none is ever saved.

    Draws are made on the CPU and moved, so that a run does not depend on the device's own generator.
    """
    return torch.Generator().manual_seed(derive_seed(seed, stream, step))


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn. temperature 0 is greedy; top_k 0 and top_p 1 are off."""

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    max_new_tokens: int = 64


def left_pad(rows: Sequence[Sequence[int]], pad: int) -> tuple[Tensor, Tensor]:
    """Ids (B,P) int64 and prompt_mask (B,P) of rows that all end in the last column."""
    width = max(len(row) for row in rows)
    ids = torch.full((len(rows), width), pad, dtype=torch.int64)
    mask = torch.zeros(len(rows), width, dtype=torch.bool)
    for i, row in enumerate(rows):
        ids[i, width - len(row) :] = torch.tensor(row, dtype=torch.int64)
        mask[i, width - len(row) :] = True
    return ids, mask


def restrict_logits(logits: Tensor, sampling: Sampling) -> Tensor:
    """Logits (B,V) at the sampling temperature, -inf outside top-k and outside the top-p nucleus."""
    logits = logits.float() / sampling.temperature
    if 0 < sampling.top_k < logits.size(-1):
        floor = logits.topk(sampling.top_k, dim=-1).values[:, -1:]
        logits = logits.masked_fill(logits < floor, -torch.inf)
    if sampling.top_p < 1:
        ordered, order = logits.sort(dim=-1, descending=True)
        mass = ordered.softmax(-1)
        outside = mass.cumsum(-1) - mass >= sampling.top_p  # the token that crosses top_p stays
        logits = logits.masked_fill(outside.scatter(-1, order, outside), -torch.inf)
    return logits


def sample_tokens(logits: Tensor, uniform: Tensor, sampling: Sampling) -> Tensor:
    """Token ids (B,) drawn from logits (B,V) by inverting the distribution function at `uniform` (B,) in [0, 1).

    A row's token depends on its own number alone, so it does not change with the batch around it. Several times
    faster than torch.multinomial on CPU.
    """
    if sampling.temperature == 0:
        return logits.argmax(-1)
    cdf = restrict_logits(logits, sampling).softmax(-1).cumsum(-1)
    total = cdf[:, -1:]
    point = torch.minimum(uniform[:, None] * total, torch.nextafter(total, torch.zeros_like(total)))
    return (cdf <= point).sum(-1)


@torch.no_grad()
def generate_columns(
    model: LanguageModel, prompts: Tensor, prompt_mask: Tensor, eos: int, sampling: Sampling, uniforms: Tensor
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield (rows, tokens) a column: the rows still running (int64) and the token each has just drawn.

    `prompts` (B,P) are left-padded, `uniforms` (B, max_new_tokens) float32. A row ends with the EOS it draws, at
    max_new_tokens, or at the end of the model's context; one without room for a token is never yielded.
    """
    room = model.architecture.context - prompt_mask.sum(1)  # (B,) tokens that each row can still take
    held = (room > 0).nonzero().squeeze(1)  # rows that the cache holds
    if len(held) == 0 or sampling.max_new_tokens <= 0:
        return
    shortest, columns = int(room[held].min()), min(sampling.max_new_tokens, int(room.max()))
    like = model.model.embed_tokens.weight
    cache = Cache.empty(model.architecture, len(held), prompts.size(1) + columns, like)
    running = torch.ones_like(held, dtype=torch.bool)
    tokens, mask = prompts[held], prompt_mask[held]
    for column in range(columns):
        logits = model.logits(model(tokens, mask, cache)[:, -1])
        drawn = sample_tokens(logits, uniforms[held, column], sampling)
        yield held[running], drawn[running]
        running = running & (drawn != eos) & (room[held] > column + 1)
        left = int(running.sum())
        if left == 0:
            return
        full = column + 1 >= shortest  # a row that fills the context must be dropped: it has no next position
        if left <= COMPACT_BELOW * len(held) or (full and left < len(held)):
            keep = running.nonzero().squeeze(1)
            cache.keep_rows(keep)
            held, drawn, running = held[keep], drawn[keep], running[keep]
        tokens, mask = drawn[:, None], torch.ones(len(held), 1, dtype=torch.bool, device=prompts.device)


def generate(
    model: LanguageModel, prompts: Tensor, prompt_mask: Tensor, eos: int, sampling: Sampling, uniforms: Tensor
) -> tuple[Tensor, Tensor]:
    """Responses (B,R) int64 and response_mask (B,R), True through the EOS token; R is the longest response drawn.

    Padding holds id 0 and is known by the mask alone, never by its id.
    """
    width = uniforms.size(1)
    responses = torch.zeros(len(prompts), width, dtype=torch.int64, device=prompts.device)
    response_mask = torch.zeros(len(prompts), width, dtype=torch.bool, device=prompts.device)
    used = 0
    for column, (rows, tokens) in enumerate(generate_columns(model, prompts, prompt_mask, eos, sampling, uniforms)):
        responses[rows, column] = tokens
        response_mask[rows, column] = True
        used = column + 1
    return responses[:, :used], response_mask[:, :used]
