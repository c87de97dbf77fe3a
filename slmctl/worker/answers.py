"""What is told of responses once they are drawn: score, KL to the reference, and the numbers of each token.

The numbers are those of training: one forward over the whole response, at the sampling temperature.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from engine.algorithms.kl import k1
from engine.model.sampling import left_pad
from engine.model.transformer import LanguageModel
from engine.train.rollout import Episodes, response_logprobs, response_values, without_gradient
from slmctl.worker.generation import Draft, Row
from slmctl.worker.pieces import spelled
from slmctl.worker.protocol import Drawn, LensToken


def answers(draft: Draft) -> list[Drawn]:
    """One answer a row, with what was asked to be told of it."""
    tokenizer = draft.policy.tokenizer
    texts = tokenizer.decode_responses([row.ids for row in draft.rows])
    told = [
        Drawn(text, len(row.ids), row.ids[-1:] == [tokenizer.eos_id], row.seconds)
        for text, row in zip(texts, draft.rows, strict=True)
    ]
    if draft.scorer is not None and texts:
        scores = draft.scorer.score(draft.prompts, texts)
        told = [replace(answer, score=score) for answer, score in zip(told, scores, strict=True)]
    drawn = [i for i, row in enumerate(draft.rows) if row.ids]
    if drawn and (draft.ref is not None or draft.wanted.lens):
        for i, (kl, lens) in zip(drawn, _measured(draft, [draft.rows[i] for i in drawn]), strict=True):
            told[i] = replace(told[i], kl_nats=kl, lens=lens)
    return told


def _measured(draft: Draft, rows: Sequence[Row]) -> list[tuple[float | None, tuple[LensToken, ...]]]:
    """KL and lens of each of `rows`, none of which is empty."""
    episodes = _episodes(draft, rows)
    logprobs = _logprobs(draft.policy.model, draft, episodes)  # (B,R)
    kl = None if draft.ref is None else k1(logprobs, _logprobs(draft.ref, draft, episodes))
    totals: list[float | None] = [None] * len(rows) if kl is None else kl.sum(1).tolist()  # 0 in the padding
    if not draft.wanted.lens:
        return [(total, ()) for total in totals]
    value = draft.value
    values = None if value is None else without_gradient(lambda block: response_values(value, block), episodes)
    texts = [spelled(draft.policy.tokenizer, row.ids) for row in rows]
    columns = zip(texts, logprobs.tolist(), _lists(kl, rows), _lists(values, rows), strict=True)
    lenses = [tuple(map(LensToken, *numbers)) for numbers in columns]
    return list(zip(totals, lenses, strict=True))


def _episodes(draft: Draft, rows: Sequence[Row]) -> Episodes:
    device = draft.policy.model.model.embed_tokens.weight.device
    prompts, prompt_mask = left_pad([row.prompt for row in rows], draft.policy.tokenizer.pad_id)
    width = max(len(row.ids) for row in rows)
    responses = torch.zeros(len(rows), width, dtype=torch.int64)
    for i, row in enumerate(rows):
        responses[i, : len(row.ids)] = torch.tensor(row.ids)
    lengths = torch.tensor([len(row.ids) for row in rows])
    mask = torch.arange(width) < lengths[:, None]
    return Episodes(*(tensor.to(device) for tensor in (prompts, prompt_mask, responses, mask)))


def _logprobs(model: LanguageModel, draft: Draft, episodes: Episodes) -> Tensor:
    temperature = draft.sampling.temperature or 1.0
    return without_gradient(lambda block: response_logprobs(model, block, temperature), episodes)


def _lists(numbers: Tensor | None, rows: Sequence[Row]) -> Sequence[Sequence[float | None]]:
    """The numbers (B,R), padding included; None for each token where there are none."""
    if numbers is None:
        return [[None] * len(row.ids) for row in rows]
    listed: list[list[float]] = numbers.tolist()
    return listed
