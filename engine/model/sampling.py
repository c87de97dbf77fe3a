"""Random streams and batched generation: prompts as ids in, responses as ids out; each row ends on its own.

Log-probabilities are not computed here: PPO gets them from the function that training uses too (logprobs.py), so that
the ratio of new to old starts at 1.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.core.seeding import derive_seed
from engine.model.transformer import Cache, LanguageModel

COMPACT_BELOW = 0.75  # fraction of rows still running below which finished rows are dropped from the batch


def generator(seed: int, stream: str, step: int = 0) -> torch.Generator:
    """A new CPU generator for `stream` at `step`; equal arguments always give equal numbers, so no state is saved.

    Numbers are drawn on the CPU and moved, so that a run does not depend on a device's own generator.
    """
    return torch.Generator().manual_seed(derive_seed(seed, stream, step))


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn. temperature 0 is greedy decoding; top_k 0 and top_p 1 are off."""

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    max_new_tokens: int = 64


def left_pad(rows: Sequence[Sequence[int]], pad: int) -> tuple[Tensor, Tensor]:
    """Ids (B,P) int64 and prompt_mask (B,P) of rows that all end in the last column.

    So every response begins in the same column, and each step of generation is one column for all rows.
    """
    width = max(len(row) for row in rows)
    ids = torch.full((len(rows), width), pad, dtype=torch.int64)
    mask = torch.zeros(len(rows), width, dtype=torch.bool)
    for i, row in enumerate(rows):
        ids[i, width - len(row) :] = torch.tensor(row, dtype=torch.int64)
        mask[i, width - len(row) :] = True
    return ids, mask


def restrict_logits(logits: Tensor, sampling: Sampling) -> Tensor:
    """Logits (B,V) at the sampling temperature, -inf outside top-k and outside the top-p nucleus.

    Source: Holtzman et al. 2020 for the nucleus: the smallest set of likeliest tokens with a mass of at least top_p.
    """
    logits = logits.float() / sampling.temperature
    if 0 < sampling.top_k < logits.size(-1):
        floor = logits.topk(sampling.top_k, dim=-1).values[:, -1:]
        logits = logits.masked_fill(logits < floor, -torch.inf)
    if sampling.top_p < 1:
        ordered, order = logits.sort(dim=-1, descending=True)
        mass = ordered.softmax(-1)
        outside = mass.cumsum(-1) - mass >= sampling.top_p  # mass before the token: the one that crosses top_p stays
        logits = logits.masked_fill(outside.scatter(-1, order, outside), -torch.inf)
    return logits


def sample_tokens(logits: Tensor, uniform: Tensor, sampling: Sampling) -> Tensor:
    """Token ids (B,) drawn from logits (B,V) by inverting the distribution function at `uniform` (B,) in [0, 1).

    A row's token depends on its own number alone, not on the rest of the batch. Several times faster than
    torch.multinomial on CPU.
    """
    if sampling.temperature == 0:
        return logits.argmax(-1)
    cdf = restrict_logits(logits, sampling).softmax(-1).cumsum(-1)
    total = cdf[:, -1:]
    # rounding can leave the total a little off 1, and a point at or above it would select no token
    point = torch.minimum(uniform[:, None] * total, torch.nextafter(total, torch.zeros_like(total)))
    return (cdf <= point).sum(-1)


@torch.no_grad()
def generate_columns(
    model: LanguageModel, prompts: Tensor, prompt_mask: Tensor, eos: int, sampling: Sampling, uniforms: Tensor
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yields (rows, tokens) for each column: the rows still running (int64) and the token that each has just drawn.

    `prompts` (B,P) are left-padded, `uniforms` (B, max_new_tokens) float32. A row ends with the EOS that it draws, at
    max_new_tokens, or at the end of the model's context; one without room for a token is never yielded.
    """
    room = model.architecture.context - prompt_mask.sum(1)  # (B,) tokens that each row can still take
    held = (room > 0).nonzero().squeeze(1)  # rows of the batch that the cache contains
    if len(held) == 0 or sampling.max_new_tokens <= 0:
        return
    shortest, columns = int(room[held].min()), min(sampling.max_new_tokens, int(room.max()))
    like = model.model.embed_tokens.weight
    cache = Cache.empty(model.architecture, len(held), prompts.size(1) + columns, like)
    running = torch.ones_like(held, dtype=torch.bool)
    tokens, mask = prompts[held], prompt_mask[held]
    for column in range(columns):
        # the first pass reads the prompts, each later one the tokens just drawn: all else is in the cache
        logits = model.logits(model(tokens, mask, cache)[:, -1])
        drawn = sample_tokens(logits, uniforms[held, column], sampling)
        yield held[running], drawn[running]
        running = running & (drawn != eos) & (room[held] > column + 1)
        left = int(running.sum())
        if left == 0:
            return
        full = column + 1 >= shortest  # a row that fills the context has no next position and must be dropped
        if left <= COMPACT_BELOW * len(held) or (full and left < len(held)):
            keep = running.nonzero().squeeze(1)
            cache.keep_rows(keep)
            held, drawn, running = held[keep], drawn[keep], running[keep]
        # finished rows that were not dropped run on, and what they draw is not yielded
        tokens, mask = drawn[:, None], torch.ones(len(held), 1, dtype=torch.bool, device=prompts.device)


def generate(
    model: LanguageModel, prompts: Tensor, prompt_mask: Tensor, eos: int, sampling: Sampling, uniforms: Tensor
) -> tuple[Tensor, Tensor]:
    """Responses (B,R) int64 and response_mask (B,R), True through the EOS token; R is the longest response drawn.

    Padding has id 0, which may also be a real token: only the mask distinguishes them.
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
