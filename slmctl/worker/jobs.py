"""What the sampler child does for a request, cut into short pieces: each is a column of tokens, or as much as one.

Each job is a generator; what it yields are the replies of one piece of work. Whose turn it is is serve.py's business.
"""

import sys
import time
import traceback
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import torch

from engine.core.errors import EngineError, one_line
from engine.model.sampling import generate_columns, left_pad
from engine.run.machine import is_out_of_memory
from slmctl.console.crash import keep_traceback
from slmctl.worker.answers import answers
from slmctl.worker.generation import Draft, begin, prompt_of
from slmctl.worker.protocol import Done, Failed, Load, Reply, Sample, Score, Token
from slmctl.worker.shelf import Shelf

BUG = 70
SCORED_AT_ONCE = 64

Steps = Iterator[list[Reply]]


def load(wanted: Load, shelf: Shelf) -> Steps:
    """Opens a model."""
    yield [Done(wanted.id, shelf.load(wanted))]


def score(wanted: Score, shelf: Shelf, cancelled: Collection[int]) -> Steps:
    """Scores exchanges, some at a time; those scored so far where it is cancelled."""
    scorer = shelf.scorer(wanted.scorer)
    exchanges = [(prompt_of(prompt), str(response)) for prompt, response in wanted.exchanges]
    scores: list[float] = []
    for start in range(0, len(exchanges), SCORED_AT_ONCE):
        if wanted.id in cancelled:
            break
        prompts, responses = zip(*exchanges[start : start + SCORED_AT_ONCE], strict=True)
        scores += scorer.score(prompts, responses)
        yield []
    yield [Done(wanted.id, scores)]


def likeness(wanted: Sample) -> tuple[Any, ...]:
    """What two requests must share to be drawn as one batch."""
    return (wanted.model, *sorted(wanted.sampling.items()))


def draw(requests: Sequence[Sample], shelf: Shelf, cancelled: Collection[int]) -> Steps:
    """Draws for requests of one likeness as one batch, and answers each as soon as its rows have ended.

    What is wrong with one request fails that one alone.
    """
    drafts: list[Draft] = []
    for wanted in requests:
        try:
            drafts.append(begin(wanted, shelf))
        except Exception as error:
            yield [failure(wanted.id, error)]
    for told in _columns([draft for draft in drafts if draft.rows], cancelled):
        yield told
        over = [draft for draft in drafts if draft.over]
        drafts = [draft for draft in drafts if not draft.over]
        for draft in over:
            yield [_answer(draft)]
    for draft in drafts:
        yield [_answer(draft)]


def _columns(drafts: Sequence[Draft], cancelled: Collection[int]) -> Steps:
    """Grows all rows of `drafts` by a token at a time, until each has ended or been cancelled."""
    if not drafts:
        return
    owners = [(draft, place) for draft in drafts for place in range(len(draft.rows))]
    policy, sampling = drafts[0].policy, drafts[0].sampling
    device = policy.model.model.embed_tokens.weight.device
    ids, mask = left_pad([draft.rows[place].prompt for draft, place in owners], policy.tokenizer.pad_id)
    uniforms = torch.cat([draft.uniforms() for draft in drafts]).to(device)
    eos, started = policy.tokenizer.eos_id, time.monotonic()
    columns = generate_columns(policy.model, ids.to(device), mask.to(device), eos, sampling, uniforms)
    while True:
        told = [token for draft in drafts if draft.wanted.id in cancelled for token in _stopped(draft)]
        if all(draft.over for draft in drafts):
            yield told
            return
        rows, tokens = next(columns)
        seconds = time.monotonic() - started
        for row, token in zip(rows.tolist(), tokens.tolist(), strict=True):
            draft, place = owners[row]
            if not draft.rows[place].ended:
                told += _told(draft, place, draft.rows[place].take(token, eos, seconds))
        yield told


def _stopped(draft: Draft) -> list[Reply]:
    return [token for place, row in enumerate(draft.rows) for token in _told(draft, place, row.end())]


def _told(draft: Draft, place: int, text: str) -> list[Reply]:
    return [Token(draft.wanted.id, place, text)] if text else []


def _answer(draft: Draft) -> Reply:
    try:
        return Done(draft.wanted.id, answers(draft))
    except Exception as error:
        return failure(draft.wanted.id, error)


def failure(number: int, error: Exception) -> Failed:
    """What a request that raised `error` is told; the details of a bug go to a file and to stderr."""
    if isinstance(error, EngineError):
        return Failed(number, str(error), error.exit_code)
    if is_out_of_memory(error):
        return Failed(number, "this does not fit into memory: draw fewer or shorter responses, or use a smaller model")
    bug, kept = keep_traceback(error)
    traceback.print_exception(bug, file=sys.stderr)
    return Failed(number, f"a bug of ours: {type(bug).__name__}: {one_line(bug)[:-1]} (details in {kept})", BUG)
