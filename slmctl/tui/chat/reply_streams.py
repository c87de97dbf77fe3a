"""Samples replies, each in a task of its own, and reports each that has ended.

A measurement that fails (such as KL to a reference with another tokenizer) does not cost the reply: the reply is
sampled without it and says why.
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace

from engine.core.errors import EngineError
from slmctl.chat.chat import ReplyKey, ReplyRequest
from slmctl.chat.conversation import Reply, prompt_for
from slmctl.worker.protocol import LoadedModel, Sampler, SampleRequest, SamplerGone, SampleTask

USAGE_EXIT_CODE = 2
SHORTER = "; start a new conversation with /new, or send a shorter prompt"


@dataclass
class _Stream:
    """A reply in progress: its text so far, and how to end it."""

    cancel: Callable[[], None] = lambda: None
    task: SampleTask | None = None
    text: str = ""
    stopped: bool = False
    grown: bool = False

    def add(self, _row: int, text: str) -> None:
        """Appends a piece of text."""
        self.text += text
        self.grown = True


class ReplyStreams:
    """All replies in progress. `sampler` returns the current sampler, `spawn` runs a task and returns a function that
    cancels it, `on_ended` is given each reply that has ended, complete or not, or has failed."""

    def __init__(
        self,
        sampler: Callable[[], Sampler],
        spawn: Callable[[Coroutine[None, None, None]], Callable[[], None]],
        on_ended: Callable[[ReplyRequest, Reply], object],
    ) -> None:
        self._sampler, self._spawn, self._on_ended = sampler, spawn, on_ended
        self._streams: dict[ReplyKey, _Stream] = {}

    def start(self, request: ReplyRequest) -> None:
        """Samples a reply, unless it is already in progress."""
        if request.key not in self._streams:
            stream = self._streams[request.key] = _Stream()
            stream.cancel = self._spawn(self._run(request, stream))

    @property
    def active(self) -> bool:
        """Whether any reply is in progress."""
        return bool(self._streams)

    def stop(self, chosen: Callable[[ReplyKey], bool] = lambda _: True) -> int:
        """Stops the replies whose key is `chosen`, keeping their text. Returns how many there were."""
        streams = [stream for key, stream in self._streams.items() if chosen(key) and not stream.stopped]
        for stream in streams:
            stream.stopped = True
            if stream.task is not None:
                stream.task.stop()
            else:
                stream.cancel()
        return len(streams)

    def text(self, key: ReplyKey) -> str | None:
        """The text so far of a reply in progress; None if it is not."""
        stream = self._streams.get(key)
        return None if stream is None else stream.text

    def take_grown(self) -> list[ReplyKey]:
        """The replies that have grown since the last call."""
        grown = [key for key, stream in self._streams.items() if stream.grown]
        for key in grown:
            self._streams[key].grown = False
        return grown

    async def _run(self, request: ReplyRequest, stream: _Stream) -> None:
        try:
            reply = await self._reply(request, stream)
        except asyncio.CancelledError:
            if not stream.stopped:
                raise
            reply = Reply(stopped=True, by=request.by)
        except EngineError as error:
            hint = SHORTER if "tokens" in str(error) and error.exit_code == USAGE_EXIT_CODE else ""
            again = "; send the prompt again to restart it" if isinstance(error, SamplerGone) else ""
            reply = Reply(stream.text, by=request.by, error=f"{error}{hint}{again}")
        finally:
            del self._streams[request.key]
        self._on_ended(request, reply)

    async def _reply(self, request: ReplyRequest, stream: _Stream) -> Reply:
        """The reply with as many measurements as possible: all, those without KL and values, none."""
        loaded = await self._sampler().load(request.by)
        measured = [(request.ref, request.scorer, request.value), ("", request.scorer, ""), ("", "", "")]
        *attempts, bare = (
            replace(request, ref=ref, scorer=scorer, value=value) for ref, scorer, value in dict.fromkeys(measured)
        )
        note = ""
        for attempt in attempts:
            try:
                return replace(await self._measured(attempt, loaded, stream), note=note)
            except SamplerGone:
                raise
            except EngineError as error:
                note = note or str(error)
        return replace(await self._measured(bare, loaded, stream), note=note)

    async def _measured(self, request: ReplyRequest, loaded: LoadedModel, stream: _Stream) -> Reply:
        sampler, turn = self._sampler(), request.turns[-1]
        ref = request.ref if request.ref != request.by else ""  # the KL of a model to itself is 0
        if ref:
            await sampler.load(ref)
        for scorer in filter(None, (request.scorer, request.value)):
            await sampler.load(scorer, scorer=True)
        sample = SampleRequest(
            request.by,
            [prompt_for(request.model, loaded.chat, request.turns)],
            turn.sampling,
            turn.seed,
            turn.step,
            ref,
            request.scorer,
            request.value,
            lens=True,
            background=request.background,
        )
        stream.text = ""
        task = stream.task = sampler.sample(sample, None if request.background else stream.add)
        if stream.stopped:
            task.stop()
        (response,) = await task.responses()
        return Reply(
            **vars(response),
            stopped=stream.stopped and not response.finished,
            ref=request.ref,
            scorer=request.scorer,
            by=request.by,
            checkpoint=loaded.checkpoint,
            chat=loaded.chat,
        )
