"""A sampler for tests of screens: answers from a script, in the order and at the moment that a test wants."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from engine.core.errors import CheckpointError, EngineError
from engine.data.records import Prompt, prompt_text
from slmctl.worker.protocol import LensToken, LoadedModel, SampledResponse, SampleRequest
from slmctl.worker.sampler import OnText, Sampler, SamplerGone

CONTEXT = 256
BASES = ("base", "pretrain")


@dataclass
class FakeSampler:
    """Says by heart what it was given for (model, text of the prompt), one answer a row, the last for all further rows.

    What it was not given is made from model, prompt and draw, so that two draws differ. `loads`, `draws` and `scored`
    are what it was asked, in order.
    """

    script: dict[tuple[str, str], Sequence[str | SampledResponse]] = field(default_factory=dict)
    scores: dict[str, float] = field(default_factory=dict)  # by response
    loads: list[tuple[str, bool]] = field(default_factory=list)
    draws: list[SampleRequest] = field(default_factory=list)
    scored: list[tuple[str, list[tuple[Prompt, str]]]] = field(default_factory=list)
    closed: bool = False
    dead: bool = False  # whether every call raises SamplerGone
    _errors: dict[str, EngineError] = field(default_factory=dict)
    _holds: dict[str, asyncio.Event] = field(default_factory=dict)
    _under_way: list["FakeSampleTask"] = field(default_factory=list)

    def say(self, model: str, prompt: str, *answers: str | SampledResponse) -> None:
        """Gives the answers of a model to a prompt, one a row."""
        self.script[(model, prompt)] = answers

    def hold(self, model: str) -> asyncio.Event:
        """Makes draws from a model pause, after their first piece where they stream, until the event is set."""
        self._holds[model] = asyncio.Event()
        return self._holds[model]

    def fail(self, name: str, sentence: str | None = "it is broken") -> None:
        """Makes loads, draws and scores of a name fail with a sentence; None mends it."""
        self._errors.pop(name, None)
        if sentence is not None:
            self._errors[name] = CheckpointError(sentence)

    def die(self) -> None:
        """Does to everybody who waits what the end of the child does; later calls find a new one."""
        for drawing in list(self._under_way):
            drawing.die()

    async def load(self, name: str, scorer: bool = False) -> LoadedModel:
        """What a model of that name would be: one of a stage `base` has no chat template."""
        self.loads.append((name, scorer))
        await self._pass(name)
        chat = name.rpartition(":")[2].partition("@")[0] not in BASES
        return LoadedModel(name, checkpoint=f"hash of {name}", context=CONTEXT, chat=chat, parameters=1000)

    def sample(self, wanted: SampleRequest, on_text: OnText | None = None) -> "FakeSampleTask":
        """Begins to say what the script has."""
        self.draws.append(wanted)
        drawing = FakeSampleTask(self, wanted, on_text)
        self._under_way.append(drawing)
        return drawing

    async def score(self, scorer: str, exchanges: Sequence[tuple[Prompt, str]]) -> list[float]:
        """The scores given by response, or a number that grows with its length."""
        self.scored.append((scorer, list(exchanges)))
        await self._pass(scorer)
        return [self.score_of(response) for _, response in exchanges]

    async def close(self) -> None:
        """Remembers that it was closed."""
        self.die()
        self.closed = True

    def score_of(self, response: str) -> float:
        """The score given for a response, or a number that grows with its length."""
        return self.scores.get(response, len(response) / 10)

    async def wait(self, wanted: SampleRequest, stopped: asyncio.Event) -> None:
        """Waits as long as draws from a model are held, or until it is stopped."""
        hold = self._holds.get(wanted.model)
        if hold is not None and not hold.is_set():
            waits = [asyncio.create_task(event.wait()) for event in (hold, stopped)]
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for wait in waits:
                    wait.cancel()

    async def check(self, wanted: SampleRequest) -> None:
        """Raises what one of the names of a draw was made to fail with."""
        for name in filter(None, (wanted.model, wanted.ref, wanted.scorer, wanted.value)):
            await self._pass(name)

    def over(self, drawing: "FakeSampleTask") -> None:
        """Forgets a drawing."""
        self._under_way.remove(drawing)

    async def _pass(self, name: str) -> None:
        await asyncio.sleep(0)
        if self.dead:
            raise SamplerGone("the sampler has ended (signal SIGKILL)")
        if name in self._errors:
            raise self._errors[name]


class FakeSampleTask:
    """One draw from the script, word by word."""

    def __init__(self, sampler: FakeSampler, wanted: SampleRequest, on_text: OnText | None) -> None:
        self._sampler, self._wanted, self._on_token = sampler, wanted, on_text
        self._stopped = asyncio.Event()
        self._died = False
        self._task = asyncio.create_task(self._say())
        self._task.add_done_callback(lambda task: task.cancelled() or task.exception())

    async def responses(self) -> list[SampledResponse]:
        """The answers; those so far where it was stopped."""
        try:
            return await asyncio.shield(self._task)
        except asyncio.CancelledError:
            self._task.cancel()
            raise

    def stop(self) -> None:
        """Ends it with the words that were said."""
        self._stopped.set()

    def die(self) -> None:
        """Ends it as the child's end does."""
        self._died = True
        self._stopped.set()

    async def _say(self) -> list[SampledResponse]:
        try:
            await self._sampler.check(self._wanted)
            answers = [self._scripted(row, prompt) for row, prompt in enumerate(self._wanted.prompts)]
            words = [pieces(answer.text) for answer in answers]
            said = await self._stream(words)
            if self._died:
                raise SamplerGone("the sampler has ended (signal SIGKILL)")
            return [
                self._measured(
                    answer
                    if count == len(own)
                    else replace(answer, text="".join(own[:count]), tokens=count, finished=False)
                )
                for answer, own, count in zip(answers, words, said, strict=True)
            ]
        finally:
            self._sampler.over(self)

    async def _stream(self, words: Sequence[Sequence[str]]) -> list[int]:
        """How many words of each row were said."""
        said = [0] * len(words)
        for column in range(max(map(len, words), default=0)):
            if self._on_token is None or column == 1:
                await self._sampler.wait(self._wanted, self._stopped)
            if self._stopped.is_set():
                return said
            for row, own in enumerate(words):
                if column < len(own):
                    said[row] += 1
                    if self._on_token is not None:
                        self._on_token(row, own[column])
            await asyncio.sleep(0)
        return said

    def _scripted(self, row: int, prompt: Prompt) -> SampledResponse:
        wanted, text = self._wanted, prompt_text(prompt)
        script = self._sampler.script.get((wanted.model, text))
        given = script[min(row, len(script) - 1)] if script else None
        if isinstance(given, SampledResponse):
            return given
        if given is None:
            given = f"{wanted.model} answers {text} by draw {wanted.seed}.{wanted.step}.{row}"
        return SampledResponse(given, tokens=len(pieces(given)) + 1, finished=True, seconds=0.5)

    def _measured(self, answer: SampledResponse) -> SampledResponse:
        """The answer with the numbers that were asked for and that the script left out."""
        wanted = self._wanted
        if wanted.scorer and answer.score is None:
            answer = replace(answer, score=self._sampler.score_of(answer.text))
        if wanted.ref and answer.kl_nats is None:
            answer = replace(answer, kl_nats=answer.tokens / 4)
        if wanted.lens and not answer.lens:
            numbers = (0.25 if wanted.ref else None, 1.0 if wanted.value else None)
            answer = replace(answer, lens=tuple(LensToken(piece, -0.5, *numbers) for piece in pieces(answer.text)))
        return answer


def pieces(text: str) -> list[str]:
    """A text in its words, each with the space or line break before it."""
    found: list[str] = []
    for mark in text:
        if not found or (mark.isspace() and not found[-1].isspace()):
            found.append("")
        found[-1] += mark
    return found


def as_sampler(fake: FakeSampler) -> Sampler:
    """The fake where a Sampler is wanted; here the types are held against each other."""
    return fake
