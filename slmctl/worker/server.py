"""The sampler child's loop. Every request in progress advances by one piece of work per turn: one token of each
response, or about as much.

Background requests wait until there are no others, and are then generated in large batches. New requests are read
between any two pieces of work.
"""

import sys
import time
import traceback
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any, NoReturn

import torch

from engine.core.errors import EngineError, one_line
from engine.model.sampling import generate_columns, left_pad
from engine.run.machine import is_out_of_memory
from slmctl.console.crash import keep_traceback
from slmctl.worker.generation import Generation, start_generation
from slmctl.worker.model_cache import ModelCache
from slmctl.worker.protocol import (
    CancelRequest,
    Done,
    Failed,
    LoadRequest,
    SampledResponse,
    SampleRequest,
    TextChunk,
    WorkerReply,
    from_line,
)

BACKGROUND_ROWS = 32  # responses that are generated together in the background
INTERNAL_ERROR = 70

Steps = Iterator[list[WorkerReply]]  # the replies of one piece of work after the other


@dataclass
class Work:
    """A job in progress; `pending` are the numbers of the requests that wait for their last reply."""

    steps: Steps
    pending: set[int]


@dataclass
class Server:
    """Requests come from `lines`, replies go to `send`."""

    lines: SimpleQueue[str]
    send: Callable[[WorkerReply], None]
    models: ModelCache
    _foreground: deque[Work] = field(default_factory=deque)
    _waiting: list[SampleRequest] = field(default_factory=list)  # background requests that have not started
    _background: Work | None = None
    _cancelled: set[int] = field(default_factory=set)

    def run(self) -> NoReturn:
        """Serves until the process ends."""
        while True:
            self.turn()

    def turn(self) -> None:
        """Reads new requests, waiting for one if there is nothing to do, and does one piece of work."""
        self._read(wait=not (self._foreground or self._waiting or self._background))
        if self._foreground:
            work = self._foreground.popleft()
            if self._advance(work):
                self._foreground.append(work)
            return
        if self._background is None and self._waiting:
            self._background = self._background_batch()
        if self._background is not None and not self._advance(self._background):
            self._background = None

    def _read(self, wait: bool) -> None:
        """Reads all lines that have arrived; with `wait` at least one."""
        try:
            while True:
                self._accept(self.lines.get(block=wait))
                wait = False
        except Empty:
            return

    def _accept(self, line: str) -> None:
        try:
            message = from_line(line)
        except ValueError as error:
            self.send(Failed(0, str(error)))
            return
        match message:
            case LoadRequest():
                self._foreground.append(Work(load(message, self.models), {message.id}))
            case SampleRequest(background=True):
                self._waiting.append(message)
            case SampleRequest():
                self._foreground.append(Work(generate([message], self.models, self._cancelled), {message.id}))
            case CancelRequest():
                self._cancel(message)
            case _:
                self.send(Failed(message.id, f"{type(message).__name__} is a reply, not a request"))

    def _cancel(self, message: CancelRequest) -> None:
        """Cancels a request: at its next piece of work, or now if it has not started."""
        for request in [request for request in self._waiting if request.id == message.target]:
            self._waiting.remove(request)
            self.send(Done(request.id, [SampledResponse("", 0, False)] * len(request.prompts)))
        in_progress = [*self._foreground, *([self._background] if self._background else [])]
        if any(message.target in work.pending for work in in_progress):
            self._cancelled.add(message.target)
        self.send(Done(message.id))

    def _background_batch(self) -> Work:
        """The oldest waiting request, with others that can be generated in the same batch."""
        first, *others = self._waiting
        chosen, rows = [first], len(first.prompts)
        for other in others:
            if batch_key(other) == batch_key(first) and rows + len(other.prompts) <= BACKGROUND_ROWS:
                chosen.append(other)
                rows += len(other.prompts)
        self._waiting = [request for request in self._waiting if request not in chosen]
        return Work(generate(chosen, self.models, self._cancelled), {request.id for request in chosen})

    def _advance(self, work: Work) -> bool:
        """Does one piece of work and sends its replies; returns whether there is more to do."""
        try:
            replies = next(work.steps)
        except Exception as error:  # the edge of a request: it fails, the child continues
            replies = [failure(number, error) for number in sorted(work.pending)]
        for reply in replies:
            self.send(reply)
            if not isinstance(reply, TextChunk):
                work.pending.discard(reply.id)
                self._cancelled.discard(reply.id)
        return bool(work.pending)


def load(request: LoadRequest, models: ModelCache) -> Steps:
    """Opens a model."""
    yield [Done(request.id, models.load(request))]


def batch_key(request: SampleRequest) -> tuple[Any, ...]:
    """What requests must share to be generated in one batch."""
    return (request.model, *sorted(request.sampling.items()))


def generate(requests: Sequence[SampleRequest], models: ModelCache, cancelled: Collection[int]) -> Steps:
    """Generates for requests with one batch key in one batch, and completes each as soon as its responses have ended.

    An error in one request fails only that one.
    """
    generations: list[Generation] = []
    for request in requests:
        try:
            generations.append(start_generation(request, models))
        except Exception as error:
            yield [failure(request.id, error)]
    for chunks in _columns([one for one in generations if one.responses], cancelled):
        yield chunks
        for ended in [one for one in generations if one.ended]:
            generations.remove(ended)
            yield [_result(ended)]
    for generation in generations:
        yield [_result(generation)]


def _columns(generations: Sequence[Generation], cancelled: Collection[int]) -> Steps:
    """Grows all responses by one token at a time, until each has ended or been cancelled."""
    if not generations:
        return
    owners = [(generation, row) for generation in generations for row in range(len(generation.responses))]
    policy, sampling = generations[0].policy, generations[0].sampling
    device = policy.model.model.embed_tokens.weight.device
    prompts = [generation.responses[row].prompt for generation, row in owners]
    ids, mask = left_pad(prompts, policy.tokenizer.pad_id)
    uniforms = torch.cat([generation.uniforms() for generation in generations]).to(device)
    eos, started = policy.tokenizer.eos_id, time.monotonic()
    columns = generate_columns(policy.model, ids.to(device), mask.to(device), eos, sampling, uniforms)
    while True:
        chunks = [chunk for one in generations if one.request.id in cancelled for chunk in _end(one)]
        if all(generation.ended for generation in generations):
            yield chunks
            return
        rows, tokens = next(columns)
        seconds = time.monotonic() - started
        for owner, token in zip(rows.tolist(), tokens.tolist(), strict=True):
            generation, row = owners[owner]
            if not generation.responses[row].ended:
                chunks += _chunks(generation, row, generation.responses[row].add(token, eos, seconds))
        yield chunks


def _end(generation: Generation) -> list[WorkerReply]:
    return [
        chunk for row, response in enumerate(generation.responses) for chunk in _chunks(generation, row, response.end())
    ]


def _chunks(generation: Generation, row: int, text: str) -> list[WorkerReply]:
    return [TextChunk(generation.request.id, row, text)] if text else []


def _result(generation: Generation) -> WorkerReply:
    try:
        return Done(generation.request.id, generation.measured())
    except Exception as error:
        return failure(generation.request.id, error)


def failure(number: int, error: Exception) -> Failed:
    """The reply to a request that raised `error`; the traceback of an internal error goes to a file and to stderr."""
    if isinstance(error, EngineError):
        return Failed(number, str(error), error.exit_code)
    if is_out_of_memory(error):
        return Failed(number, "out of memory: generate fewer or shorter responses, or use a smaller model")
    cause, file = keep_traceback(error)
    traceback.print_exception(cause, file=sys.stderr)
    sentence = f"internal error: {type(cause).__name__}: {one_line(cause)[:-1]} (details in {file})"
    return Failed(number, sentence, INTERNAL_ERROR)
