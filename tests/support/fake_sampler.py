"""A fake sampler for tests of screens: scripted responses, in the order and at the moment that a test wants."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from engine.core.errors import CheckpointError, EngineError
from engine.data.records import Prompt, prompt_text
from slmctl.worker.protocol import LensToken, LoadedModel, OnText, SampledResponse, Sampler, SampleRequest, SamplerGone

BASES = ("base", "pretrain")


@dataclass
class FakeSampler:
    """Returns the scripted responses for (model, text of the prompt), one per row, the last for all further rows.

    A response that is not scripted is made of model, prompt, seed and step, so that two requests differ. `loads`
    and `draws` are the requests, in order.
    """

    script: dict[tuple[str, str], Sequence[str | SampledResponse]] = field(default_factory=dict)
    scores: dict[str, float] = field(default_factory=dict)  # by response
    loads: list[tuple[str, bool]] = field(default_factory=list)
    draws: list[SampleRequest] = field(default_factory=list)
    closed: bool = False
    dead: bool = False  # whether every call raises SamplerGone
    _errors: dict[str, EngineError] = field(default_factory=dict)
    _holds: dict[str, asyncio.Event] = field(default_factory=dict)
    _tasks: list["FakeSampleTask"] = field(default_factory=list)

    def say(self, model: str, prompt: str, *responses: str | SampledResponse) -> None:
        """Scripts the responses of a model to a prompt, one per row."""
        self.script[(model, prompt)] = responses

    def hold(self, model: str) -> asyncio.Event:
        """Makes requests to a model pause, after the first word if streamed, until the event is set."""
        self._holds[model] = asyncio.Event()
        return self._holds[model]

    def fail(self, name: str, sentence: str | None = "it is broken") -> None:
        """Makes all requests to a name fail with a sentence; None ends that."""
        self._errors.pop(name, None)
        if sentence is not None:
            self._errors[name] = CheckpointError(sentence)

    def die(self) -> None:
        """Fails all pending requests as the end of the child does; later ones work."""
        for task in list(self._tasks):
            task.die()

    async def load(self, name: str, scorer: bool = False) -> LoadedModel:
        """A model of that name; models of the stages in BASES have no chat template."""
        self.loads.append((name, scorer))
        await self._pass(name)
        chat = name.rpartition(":")[2].partition("@")[0] not in BASES
        return LoadedModel(f"hash of {name}", chat)

    def sample(self, request: SampleRequest, on_text: OnText | None = None) -> "FakeSampleTask":
        """Starts to stream the scripted response."""
        self.draws.append(request)
        task = FakeSampleTask(self, request, on_text)
        self._tasks.append(task)
        return task

    async def close(self) -> None:
        """Records that it was closed."""
        self.die()
        self.closed = True

    def score_of(self, response: str) -> float:
        """The scripted score, or a number that grows with the length."""
        return self.scores.get(response, len(response) / 10)

    async def wait(self, request: SampleRequest, stopped: asyncio.Event) -> None:
        """Waits while the model is held, or until the task is stopped."""
        hold = self._holds.get(request.model)
        if hold is not None and not hold.is_set():
            waits = [asyncio.create_task(event.wait()) for event in (hold, stopped)]
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for wait in waits:
                    wait.cancel()

    async def check(self, request: SampleRequest) -> None:
        """Raises the scripted error of one of the request's names."""
        for name in filter(None, (request.model, request.ref, request.scorer, request.value)):
            await self._pass(name)

    def forget(self, task: "FakeSampleTask") -> None:
        """Forgets a task."""
        self._tasks.remove(task)

    async def _pass(self, name: str) -> None:
        await asyncio.sleep(0)
        if self.dead:
            raise SamplerGone("the sampler has ended (signal SIGKILL)")
        if name in self._errors:
            raise self._errors[name]


class FakeSampleTask:
    """One scripted request, streamed word by word."""

    def __init__(self, sampler: FakeSampler, request: SampleRequest, on_text: OnText | None) -> None:
        self._sampler, self._request, self._on_text = sampler, request, on_text
        self._stopped = asyncio.Event()
        self._died = False
        self._task = asyncio.create_task(self._run())
        self._task.add_done_callback(lambda task: task.cancelled() or task.exception())

    async def responses(self) -> list[SampledResponse]:
        """The responses; if stopped, their text so far."""
        try:
            return await asyncio.shield(self._task)
        except asyncio.CancelledError:
            self._task.cancel()
            raise

    def stop(self) -> None:
        """Ends it with the words streamed so far."""
        self._stopped.set()

    def die(self) -> None:
        """Ends it as the end of the child does."""
        self._died = True
        self._stopped.set()

    async def _run(self) -> list[SampledResponse]:
        try:
            await self._sampler.check(self._request)
            responses = [self._scripted(row, prompt) for row, prompt in enumerate(self._request.prompts)]
            words = [pieces(response.text) for response in responses]
            streamed = await self._stream(words)
            if self._died:
                raise SamplerGone("the sampler has ended (signal SIGKILL)")
            return [
                self._measured(
                    response
                    if count == len(own)
                    else replace(response, text="".join(own[:count]), tokens=count, finished=False)
                )
                for response, own, count in zip(responses, words, streamed, strict=True)
            ]
        finally:
            self._sampler.forget(self)

    async def _stream(self, words: Sequence[Sequence[str]]) -> list[int]:
        """How many words of each row were streamed."""
        streamed = [0] * len(words)
        for column in range(max(map(len, words), default=0)):
            if self._on_text is None or column == 1:
                await self._sampler.wait(self._request, self._stopped)
            if self._stopped.is_set():
                return streamed
            for row, own in enumerate(words):
                if column < len(own):
                    streamed[row] += 1
                    if self._on_text is not None:
                        self._on_text(row, own[column])
            await asyncio.sleep(0)
        return streamed

    def _scripted(self, row: int, prompt: Prompt) -> SampledResponse:
        request, text = self._request, prompt_text(prompt)
        script = self._sampler.script.get((request.model, text))
        given = script[min(row, len(script) - 1)] if script else None
        if isinstance(given, SampledResponse):
            return given
        if given is None:
            given = f"{request.model} answers {text} by draw {request.seed}.{request.step}.{row}"
        return SampledResponse(given, tokens=len(pieces(given)) + 1, finished=True, seconds=0.5)

    def _measured(self, response: SampledResponse) -> SampledResponse:
        """The response with the requested numbers that the script left out."""
        request = self._request
        if request.scorer and response.score is None:
            response = replace(response, score=self._sampler.score_of(response.text))
        if request.ref and response.kl_nats is None:
            response = replace(response, kl_nats=response.tokens / 4)
        if request.lens and not response.lens:
            numbers = (0.25 if request.ref else None, 1.0 if request.value else None)
            response = replace(
                response, lens=tuple(LensToken(piece, -0.5, *numbers) for piece in pieces(response.text))
            )
        return response


def pieces(text: str) -> list[str]:
    """The words of a text, each with the space or line break before it."""
    found: list[str] = []
    for mark in text:
        if not found or (mark.isspace() and not found[-1].isspace()):
            found.append("")
        found[-1] += mark
    return found


def as_sampler(fake: FakeSampler) -> Sampler:
    """The fake as a Sampler, so that mypy compares the types."""
    return fake
