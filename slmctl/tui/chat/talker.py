"""Draws replies, each in a task of its own, and tells by a message when one has ended. Keeps no conversation.

What cannot be measured (a reference of another tokenizer) does not cost the reply: it is drawn without, and says why.
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace

from textual.message import Message

from engine.core.errors import EngineError
from slmctl.chat.conversation import Reply, given_to
from slmctl.chat.state import Wanted
from slmctl.tui.messages import ModelMet, ReplyEnded
from slmctl.worker.protocol import Loaded
from slmctl.worker.sampler import Draw, Drawing, Sampler, SamplerGone

USAGE = 2  # the exit code of an error that a person can mend by asking for less
SHORTER = "; /new begins a new conversation, which has room, and a shorter prompt may fit"


@dataclass
class _Stream:
    """A draw that is under way: what has come so far, and how to end it."""

    cancel: Callable[[], None] = lambda: None
    drawing: Drawing | None = None
    parts: list[str] = field(default_factory=list)
    stopped: bool = False
    grown: bool = False

    def add(self, _row: int, text: str) -> None:
        """Takes a piece of text."""
        self.parts.append(text)
        self.grown = True


class Talker:
    """`sampler` gives the sampler of now, `spawn` runs a task beside the screen and returns how to cancel it."""

    def __init__(
        self,
        sampler: Callable[[], Sampler],
        spawn: Callable[[Coroutine[None, None, None]], Callable[[], None]],
        post: Callable[[Message], object],
    ) -> None:
        self._sampler, self._spawn, self._post = sampler, spawn, post
        self._streams: dict[tuple[int, str, str], _Stream] = {}

    def begin(self, wanted: Wanted) -> None:
        """Draws a reply, unless that very one is being drawn."""
        if wanted.key not in self._streams:
            stream = self._streams[wanted.key] = _Stream()
            stream.cancel = self._spawn(self._run(wanted, stream))

    def meet(self, model: str) -> None:
        """Opens a model ahead of the first prompt, and says what it is."""
        self._spawn(self._meet(model))

    @property
    def active(self) -> bool:
        """Whether any reply is on its way."""
        return bool(self._streams)

    def stop(self, chosen: Callable[[tuple[int, str, str]], bool]) -> int:
        """Ends the draws whose key is `chosen`; what has come stays. Returns how many there were."""
        streams = [stream for key, stream in self._streams.items() if chosen(key) and not stream.stopped]
        for stream in streams:
            stream.stopped = True
            if stream.drawing is not None:
                stream.drawing.stop()
            else:
                stream.cancel()
        return len(streams)

    def grown(self) -> dict[tuple[int, str, str], str]:
        """The text so far of each draw that has gained some since this was last asked."""
        fresh = {key: stream for key, stream in self._streams.items() if stream.grown}
        for stream in fresh.values():
            stream.grown = False
            stream.parts[:] = ["".join(stream.parts)]
        return {key: stream.parts[0] for key, stream in fresh.items()}

    async def _meet(self, model: str) -> None:
        try:
            loaded = await self._sampler().load(model)
        except EngineError as error:
            self._post(ModelMet(model, error=str(error)))
        else:
            self._post(ModelMet(model, loaded.chat))

    async def _run(self, wanted: Wanted, stream: _Stream) -> None:
        try:
            reply = await self._reply(wanted, stream)
        except asyncio.CancelledError:
            if not stream.stopped:
                raise
            reply = Reply(stopped=True, by=wanted.by)
        except EngineError as error:
            hint = SHORTER if "tokens" in str(error) and error.exit_code == USAGE else ""
            again = "; send again to start it anew" if isinstance(error, SamplerGone) else ""
            reply = Reply("".join(stream.parts), by=wanted.by, error=f"{error}{hint}{again}")
        finally:
            del self._streams[wanted.key]
        self._post(ReplyEnded(wanted, reply))

    async def _reply(self, wanted: Wanted, stream: _Stream) -> Reply:
        loaded = await self._sampler().load(wanted.by)
        measured = [(wanted.ref, wanted.scorer, wanted.value), ("", wanted.scorer, ""), ("", "", "")]
        *fuller, bare = dict.fromkeys(measured)
        note = ""
        for ref, scorer, value in fuller:
            try:
                reply = await self._measured(replace(wanted, ref=ref, scorer=scorer, value=value), loaded, stream)
                return replace(reply, note=note)
            except SamplerGone:
                raise
            except EngineError as error:
                note = note or str(error)
        ref, scorer, value = bare
        reply = await self._measured(replace(wanted, ref=ref, scorer=scorer, value=value), loaded, stream)
        return replace(reply, note=note)

    async def _measured(self, wanted: Wanted, loaded: Loaded, stream: _Stream) -> Reply:
        sampler, turn = self._sampler(), wanted.turns[-1]
        ref = wanted.ref if wanted.ref != wanted.by else ""  # the KL of a model to itself is 0, and is not computed
        if ref:
            await sampler.load(ref)
        for scorer in filter(None, (wanted.scorer, wanted.value)):
            await sampler.load(scorer, scorer=True)
        draw = Draw(
            wanted.by,
            [given_to(wanted.model, loaded.chat, wanted.turns)],
            turn.sampling,
            turn.seed,
            turn.step,
            ref,
            wanted.scorer,
            wanted.value,
            lens=True,
            background=wanted.background,
        )
        stream.parts.clear()
        drawing = stream.drawing = sampler.draw(draw, None if wanted.background else stream.add)
        if stream.stopped:
            drawing.stop()
        (drawn,) = await drawing.answers()
        return Reply(
            text=drawn.text,
            tokens=drawn.tokens,
            finished=drawn.finished,
            stopped=stream.stopped and not drawn.finished,
            seconds=drawn.seconds,
            kl_nats=drawn.kl_nats,
            ref=wanted.ref,
            score=drawn.score,
            scorer=wanted.scorer,
            by=wanted.by,
            checkpoint=loaded.checkpoint,
            chat=loaded.chat,
            lens=drawn.lens,
        )
