"""The sampler that screens use: models in a child process, started when needed, accessed through asyncio. Torch-free.

child.py manages one child process; protocol.py defines the messages.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from engine.core.errors import CheckpointError, ConfigError
from engine.data.records import Prompt
from engine.rundir.references import is_function, is_model, resolve_reference
from slmctl.worker.child import Child
from slmctl.worker.protocol import (
    LoadedModel,
    LoadRequest,
    SampledResponse,
    SampleRequest,
    ScoreRequest,
    response_from_json,
)
from slmctl.worker.sampler import OnText

OPTIONS = ("threads", "template", "dtype", "device")
VALUE = "/value"  # suffix of a policy's name that means its value network


class ChildSampler:
    """A Sampler (sampler.py) whose models live in a child process.

    `home` is the runs folder for names such as tiny:ppo; of the options of a command, `options` may hold the four that
    OPTIONS names, None for the default.
    """

    def __init__(self, home: Path, options: Mapping[str, object] | None = None) -> None:
        self._home = home
        given = {name: (options or {}).get(name) for name in OPTIONS}
        self._options = [f"--{name}={value}" for name, value in given.items() if value is not None]
        self._child: Child | None = None
        self._starting = asyncio.Lock()
        self._loaded: dict[tuple[str, bool], tuple[LoadRequest, object]] = {}  # to load again in another child

    async def load(self, name: str, scorer: bool = False) -> LoadedModel:
        """Opens a model or scorer, once as long as its files are the same.

        MODEL/value, as a scorer, is the value network saved with a policy. Raises: EngineError for a name that cannot
        be opened; SamplerGone.
        """
        request, version = await asyncio.to_thread(self._resolve, name, scorer)
        child = await self._running()
        loaded = LoadedModel(**await child.load(request, version))
        self._loaded[(name, scorer)] = request, version
        return loaded

    def sample(self, request: SampleRequest, on_text: OnText | None = None) -> "ChildSampleTask":
        """Starts to generate responses; `on_text` receives their text as it grows."""
        return ChildSampleTask(self, replace(request, stream=on_text is not None), on_text)

    async def score(self, scorer: str, exchanges: Sequence[tuple[Prompt, str]]) -> list[float]:
        """Scores of responses by a loaded scorer. Raises: EngineError from the scorer; SamplerGone."""
        child = await self.child_with((scorer, True))
        scores: list[float] = await child.result(ScoreRequest(scorer, exchanges))
        return scores

    async def close(self) -> None:
        """Ends the child; pending requests fail."""
        async with self._starting:
            child, self._child = self._child, None
        if child is not None:
            await child.close()

    async def child_with(self, *keys: tuple[str, bool]) -> Child:
        """A running child, in which those of the models that were loaded in any child before are loaded.

        Raises: SamplerGone if no child can be started.
        """
        child = await self._running()
        for key in keys:
            if key in self._loaded and not child.has(*key):
                await child.load(*self._loaded[key])
        return child

    async def _running(self) -> Child:
        async with self._starting:
            if self._child is None or not self._child.alive:
                self._child = await Child.start(self._options)
            return self._child

    def _resolve(self, name: str, scorer: bool) -> tuple[LoadRequest, object]:
        """The request that loads a name, and an object that changes when its files are replaced."""
        if scorer and is_function(name):
            raise ConfigError(f"the scorer {name} is code, which the playground does not run; use `slmctl score`")
        if scorer and not is_model(name):
            return LoadRequest(name, "", scorer), None
        directory = self._directory(name, scorer).resolve()
        found = directory.stat()
        return LoadRequest(name, str(directory), scorer), (directory, found.st_ino, found.st_mtime_ns)

    def _directory(self, name: str, scorer: bool) -> Path:
        if not scorer or not name.endswith(VALUE) or Path(name).expanduser().is_dir():
            return resolve_reference(name, self._home)
        policy = name.removesuffix(VALUE)
        directory = resolve_reference(policy, self._home) / VALUE[1:]
        if not directory.is_dir():
            raise CheckpointError(f"no value network was saved with {policy}")
        return directory


class ChildSampleTask:
    """A SampleTask (sampler.py) of a child."""

    def __init__(self, sampler: ChildSampler, request: SampleRequest, on_text: OnText | None) -> None:
        self._sampler, self._request, self._on_text = sampler, request, on_text
        self._child: Child | None = None
        self._number = 0
        self._stopped = False
        self._task = asyncio.create_task(self._run(), name=f"sampling from {request.model}")
        self._task.add_done_callback(lambda task: task.cancelled() or task.exception())  # else asyncio warns

    async def responses(self) -> list[SampledResponse]:
        """The responses, once all have ended. Cancelling the caller cancels the request.

        Raises: EngineError if the request failed; SamplerGone.
        """
        try:
            return await asyncio.shield(self._task)
        except asyncio.CancelledError:
            self._task.cancel()
            raise

    def stop(self) -> None:
        """Ends it now; `responses` then returns what has been generated so far."""
        self._stopped = True
        if self._child is not None:
            self._child.cancel(self._number)

    async def _run(self) -> list[SampledResponse]:
        request = self._request
        names = ((request.model, False), (request.ref, False), (request.scorer, True), (request.value, True))
        child = await self._sampler.child_with(*names)
        self._number, result = child.send(request, self._on_text)
        self._child = child
        if self._stopped:
            self.stop()
        try:
            return [response_from_json(row) for row in await result]
        except asyncio.CancelledError:
            child.forget(self._number)
            raise
