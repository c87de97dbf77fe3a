"""The sampler that screens use: models in a child process that is started on need, spoken to in asyncio. Torch-free.

What is said to the child is protocol.py's business, the life of one child child.py's.
"""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from engine.core.errors import CheckpointError, ConfigError
from engine.data.records import Prompt, plain_prompt
from engine.rundir.references import is_function, is_model, resolve_reference
from slmctl.worker.child import Child
from slmctl.worker.protocol import Drawn, LensToken, Load, Loaded, Sample, Score
from slmctl.worker.sampler import Draw, OnToken

VALUE = "/value"  # what follows a policy's name where its value network is meant


class ChildSampler:
    """A Sampler (sampler.py) whose models live in a child process.

    `home` is the folder of the runs, to which names such as tiny:ppo belong; the rest is as `slmctl sample` takes it.
    """

    def __init__(
        self,
        home: Path,
        threads: int | None = None,
        template: str = "auto",
        dtype: str = "float32",
        device: str = "auto",
    ) -> None:
        self._home = home
        self._options = [f"--template={template}", f"--dtype={dtype}", f"--device={device}"]
        if threads is not None:
            self._options.append(f"--threads={threads}")
        self._child: Child | None = None
        self._starting = asyncio.Lock()
        self._known: dict[tuple[str, bool], tuple[Load, object]] = {}  # what was loaded, for another child to load

    async def load(self, name: str, scorer: bool = False) -> Loaded:
        """Opens a model or scorer, once for as long as its name means the same files.

        MODEL/value, as a scorer, is the value network that was saved with a policy. Raises: EngineError for a name that
        means nothing that can be opened; SamplerGone.
        """
        request, stamp = await asyncio.to_thread(self._resolved, name, scorer)
        child = await self._running()
        loaded = Loaded(**await child.loaded(request, stamp))
        self._known[(name, scorer)] = request, stamp
        return loaded

    def draw(self, wanted: Draw, on_token: OnToken | None = None) -> "ChildDrawing":
        """Begins to draw; model, reference, scorer and value network must have been loaded. With `on_token` text is
        handed over as it comes."""
        return ChildDrawing(self, wanted, on_token)

    async def score(self, scorer: str, exchanges: Sequence[tuple[Prompt, str]]) -> list[float]:
        """Scores of responses by a loaded scorer. Raises: EngineError as the scorer does; SamplerGone."""
        child = await self.child_with((scorer, True))
        rows = [[plain_prompt(prompt), response] for prompt, response in exchanges]
        scores: list[float] = await child.result(Score(0, scorer, rows))
        return scores

    async def close(self) -> None:
        """Ends the child; whoever waits for it is told."""
        async with self._starting:
            child, self._child = self._child, None
        if child is not None:
            await child.close()

    async def child_with(self, *keys: tuple[str, bool]) -> Child:
        """A running child that has loaded, of these names, those that any child before it had.

        Raises: SamplerGone where none can be started.
        """
        child = await self._running()
        for key in keys:
            if key in self._known and not child.has(*key):
                await child.loaded(*self._known[key])
        return child

    async def _running(self) -> Child:
        async with self._starting:
            if self._child is None or not self._child.alive:
                self._child = await Child.start(self._options)
            return self._child

    def _resolved(self, name: str, scorer: bool) -> tuple[Load, object]:
        """The request that loads a name, and what changes when other files take the place of those that it means."""
        if scorer and is_function(name):
            raise ConfigError(f"the scorer {name} is code, which `slmctl score` runs and no screen does")
        if scorer and not is_model(name):
            return Load(0, name, "", scorer), None
        directory = self._directory(name, scorer).resolve()
        found = directory.stat()
        return Load(0, name, str(directory), scorer), (directory, found.st_ino, found.st_mtime_ns)

    def _directory(self, name: str, scorer: bool) -> Path:
        if not scorer or not name.endswith(VALUE) or Path(name).expanduser().is_dir():
            return resolve_reference(name, self._home)
        policy = name.removesuffix(VALUE)
        directory = resolve_reference(policy, self._home) / VALUE[1:]
        if not directory.is_dir():
            raise CheckpointError(f"no value network was saved with {policy}")
        return directory


class ChildDrawing:
    """A Drawing (sampler.py) by a child."""

    def __init__(self, sampler: ChildSampler, wanted: Draw, on_token: OnToken | None) -> None:
        self._sampler, self._wanted, self._on_token = sampler, wanted, on_token
        self._child: Child | None = None
        self._number = 0
        self._stopped = False
        self._task = asyncio.create_task(self._drawn(), name=f"drawing from {wanted.model}")
        self._task.add_done_callback(_noticed)

    async def answers(self) -> list[Drawn]:
        """The answers, one a prompt, once all have ended; cancelled, it stops the child's work.

        Raises: EngineError as the worker says; SamplerGone.
        """
        try:
            return await asyncio.shield(self._task)
        except asyncio.CancelledError:
            self._task.cancel()
            raise

    def stop(self) -> None:
        """Ends it now: `answers` then gives what there is."""
        self._stopped = True
        if self._child is not None:
            self._child.stop(self._number)

    async def _drawn(self) -> list[Drawn]:
        wanted = self._wanted
        names = ((wanted.model, False), (wanted.ref, False), (wanted.scorer, True), (wanted.value, True))
        child = await self._sampler.child_with(*names)
        self._number, result = child.send(_request(wanted, stream=self._on_token is not None), self._on_token)
        self._child = child
        if self._stopped:
            self.stop()
        try:
            return [_drawn(row) for row in await result]
        except asyncio.CancelledError:
            child.forget(self._number)
            raise


def _request(wanted: Draw, stream: bool) -> Sample:
    return Sample(
        id=0,
        model=wanted.model,
        prompts=[plain_prompt(prompt) for prompt in wanted.prompts],
        sampling=dict(wanted.sampling),
        seed=wanted.seed,
        step=wanted.step,
        ref=wanted.ref,
        scorer=wanted.scorer,
        value=wanted.value,
        stream=stream,
        lens=wanted.lens,
        background=wanted.background,
    )


def _drawn(row: Mapping[str, Any]) -> Drawn:
    return Drawn(**{**row, "lens": tuple(LensToken(**token) for token in row["lens"])})


def _noticed(task: asyncio.Task[list[Drawn]]) -> None:
    """Nothing; but an error that nobody waits for is no error of asyncio's."""
    if not task.cancelled():
        task.exception()
