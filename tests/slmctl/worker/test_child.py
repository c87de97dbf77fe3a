"""The client with a real child: loading, sampling, streaming, stopping, a killed child."""

import asyncio
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine.core.errors import CheckpointError, ConfigError, EngineError, FileError
from engine.data.records import Message
from engine.model.checkpoint import save_model
from engine.model.pretrained import open_scalar
from engine.model.sampling import Sampling
from engine.run.inference import ModelLoader
from engine.rundir.directory import RunDir, write_text
from engine.train.scoring import RewardModelScorer
from slmctl.worker.client import Child, ChildSampler
from slmctl.worker.protocol import Sampler, SampleRequest, SamplerGone
from tests.slmctl.worker.conftest import Desk
from tests.support.tiny import PROMPTS, language_model, scalar_model, word_tokenizer

SAMPLING = Sampling(max_new_tokens=20)
ENDLESS = {"temperature": 0.0, "max_new_tokens": 10**6}


def as_sampler(sampler: ChildSampler) -> Sampler:
    """The client as a Sampler, so that mypy compares the types."""
    return sampler


def child_of(sampler: ChildSampler) -> Child:
    assert sampler._child is not None
    return sampler._child


def test_responses_equal_those_of_slmctl_sample(desk: Desk) -> None:
    async def drive() -> None:
        texts: dict[int, str] = dict.fromkeys(range(len(PROMPTS)), "")

        def add_text(row: int, text: str) -> None:
            texts[row] += text

        request = SampleRequest(desk.name("a"), PROMPTS, {"max_new_tokens": 20}, seed=3, step=2, scorer=desk.name("rm"))
        responses = await desk.sampler.sample(request, add_text).responses()
        own = ModelLoader().policy("a", desk.models / "a").respond(PROMPTS, SAMPLING, 3, 2)
        assert [(response.text, response.tokens, response.finished) for response in responses] == [
            (response.text, response.tokens, response.finished) for response in own
        ]
        assert list(texts.values()) == [response.text for response in own]
        scores = RewardModelScorer(*open_scalar(desk.models / "rm")).score(PROMPTS, [response.text for response in own])
        assert [response.score for response in responses] == pytest.approx(scores, abs=1e-5)

    desk.run(drive())


def test_lenses_messages_and_errors_are_passed_through(desk: Desk) -> None:
    async def drive() -> None:
        talk = (Message("user", "red"), Message("assistant", "blue"))
        request = SampleRequest(desk.name("a"), [talk], {"max_new_tokens": 8}, ref=desk.name("b"), lens=True)
        [response] = await desk.sampler.sample(replace(request, value=desk.name("a/value"))).responses()
        assert len(response.lens) == response.tokens and response.kl_nats is not None
        assert "".join(token.text for token in response.lens) == response.text
        assert all(token.kl_nats is not None and token.value is not None for token in response.lens)
        with pytest.raises(EngineError, match="a prompt has 0 tokens") as wrong:
            await desk.sampler.sample(SampleRequest(desk.name("a"), [""])).responses()
        assert wrong.value.exit_code == 2
        with pytest.raises(EngineError, match="nobody is not loaded"):
            await desk.sampler.sample(SampleRequest("nobody", ["red"])).responses()
        with pytest.raises(EngineError, match="is not loaded"):
            await desk.sampler.sample(SampleRequest(desk.name("a"), ["red"], scorer="pocket:concise")).responses()

    desk.run(drive())


def test_names_are_resolved_before_the_request(desk: Desk, tmp_path: Path) -> None:
    sampler = ChildSampler(tmp_path)
    run = RunDir(tmp_path / "tiny")
    write_text(run.run_toml, "schema = 2\n")
    run.final("sft").mkdir(parents=True)
    for name, scorer, kind, sentence in (
        ("other:sft", False, FileError, "no run named 'other'"),
        ("tiny:rm", True, CheckpointError, "has not finished rm yet"),
        ("tiny:sft/value", True, CheckpointError, "no value network was saved with tiny:sft"),
        ("x.py:f", True, ConfigError, "is code"),
    ):
        with pytest.raises(kind, match=sentence):
            asyncio.run(sampler.load(name, scorer))
    assert sampler._child is None
    save_model(run.final("ppo"), language_model(), word_tokenizer(), {}, value=scalar_model())
    assert sampler._directory("tiny:ppo/value", True) == run.final("ppo") / "value"
    for name, sentence in (("pocket:nobody", "unknown pocket scorer 'nobody'"), (desk.name("a"), "is a policy")):
        with pytest.raises(EngineError, match=sentence):
            desk.run(desk.sampler.load(name, scorer=True))


def test_a_name_is_loaded_again_when_its_files_change(desk: Desk, tmp_path: Path) -> None:
    async def drive() -> None:
        place = tmp_path / "model"
        save_model(place, language_model(seed=0), word_tokenizer(), {})
        sent = child_of(desk.sampler)._count
        first, again = await asyncio.gather(*(desk.sampler.load(str(place)) for _ in range(2)))
        assert first == again == await desk.sampler.load(str(place))
        assert (first.chat, len(first.checkpoint)) == (False, 64)
        assert child_of(desk.sampler)._count == sent + 1
        save_model(place, language_model(seed=2), word_tokenizer(), {})
        assert (await desk.sampler.load(str(place))).checkpoint != first.checkpoint
        texts = [
            [response.text for response in await desk.sampler.sample(SampleRequest(name, PROMPTS)).responses()]
            for name in (str(place), desk.name("b"))
        ]
        assert texts[0] == texts[1]

    desk.run(drive())


def test_a_request_is_stopped_or_its_task_cancelled(desk: Desk) -> None:
    async def drive() -> None:
        request = SampleRequest(desk.name("bytes"), ["red"] * 4, {"max_new_tokens": 60}, scorer="pocket:judge")
        whole = await desk.sampler.sample(request).responses()
        chunks: list[tuple[int, str]] = []
        begun = asyncio.Event()

        def add_text(row: int, text: str) -> None:
            chunks.append((row, text))
            begun.set()

        task = desk.sampler.sample(request, add_text)
        await begun.wait()
        task.stop()
        for row, (response, other) in enumerate(zip(await task.responses(), whole, strict=True)):
            assert response.text == "".join(text for place, text in chunks if place == row)
            assert response.tokens <= other.tokens and response.score is not None
        early = desk.sampler.sample(request)
        early.stop()
        assert sum(response.tokens for response in await early.responses()) < sum(response.tokens for response in whole)
        waits: list[asyncio.Future[Any]] = [
            asyncio.create_task(desk.sampler.sample(replace(request, background=True)).responses()),
            asyncio.create_task(desk.sampler.sample(request).responses()),
        ]
        while len(child_of(desk.sampler)._pending) < 2:
            await asyncio.sleep(0)
        for waiting in waits:
            waiting.cancel()
        for end in await asyncio.gather(*waits, return_exceptions=True):
            assert isinstance(end, asyncio.CancelledError)
        await asyncio.sleep(0)
        assert not child_of(desk.sampler)._pending
        [response] = await desk.sampler.sample(SampleRequest(desk.name("a"), ["red"])).responses()
        assert response.tokens > 0

    desk.run(drive())


def test_a_callback_that_raises_harms_no_request(desk: Desk) -> None:
    async def drive() -> None:
        complaints: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))

        def fail(row: int, text: str) -> None:
            raise ZeroDivisionError

        responses = await desk.sampler.sample(SampleRequest(desk.name("a"), ["red blue"]), fail).responses()
        asyncio.get_running_loop().set_exception_handler(None)
        assert responses[0].text and complaints

    desk.run(drive())


def test_a_killed_child_is_reported_and_replaced(desk: Desk) -> None:
    async def drive() -> None:
        request = SampleRequest(desk.name("a"), list(PROMPTS), ref=desk.name("b"), scorer=desk.name("rm"))
        before = await desk.sampler.sample(request).responses()
        pid = child_of(desk.sampler).pid
        os.kill(pid, signal.SIGSTOP)
        waits: list[asyncio.Future[Any]] = [
            asyncio.create_task(desk.sampler.sample(request).responses()) for _ in range(3)
        ]
        await asyncio.sleep(0)
        os.kill(pid, signal.SIGKILL)
        for ended in await asyncio.gather(*waits, return_exceptions=True):
            assert isinstance(ended, SamplerGone) and str(ended) == "the sampler has ended (signal SIGKILL)"
        after = await desk.sampler.sample(request).responses()
        assert [response.text for response in after] == [response.text for response in before]
        assert child_of(desk.sampler).pid != pid

    desk.run(drive())


def test_the_stderr_of_a_failed_child_is_reported(models: Path) -> None:
    async def drive() -> None:
        sampler = ChildSampler(models, {"threads": 0})
        for _ in range(2):
            with pytest.raises(SamplerGone, match=r"\(exit code 2\): threads must be at least 1, got 0"):
                await sampler.load(str(models / "a"))
        await sampler.close()

    asyncio.run(drive())
