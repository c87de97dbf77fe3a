"""The child's loop, in this process: results equal the engine's, requests take turns, errors fail one request."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest
import torch

from engine.algorithms.logprobs import token_logprobs
from engine.data.records import Message, Prompt
from engine.model.pretrained import open_policy, open_scalar
from engine.model.sampling import Sampling
from engine.run.inference import ModelLoader
from engine.train.rollout import Episodes, draw_episodes, response_texts
from engine.train.scoring import RewardModelScorer
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
    WorkerRequest,
    to_line,
)
from slmctl.worker.server import Server
from tests.support.tiny import PROMPTS

TOLERANCE = 1e-5
LONG = {"max_new_tokens": 24}


@dataclass
class Bench:
    """A server whose turns the test runs."""

    models: Path
    room: int | None = None
    params: dict[str, str] = field(default_factory=dict)
    replies: list[WorkerReply] = field(default_factory=list)
    lines: SimpleQueue[str] = field(default_factory=SimpleQueue)

    def __post_init__(self) -> None:
        self.cache = ModelCache(lambda: ModelLoader(**self.params), self.room)
        self.server = Server(self.lines, self.replies.append, self.cache)
        loads = [
            LoadRequest(name, str(self.models / name), id=900 + i)
            for i, name in enumerate(("a", "b", "short", "bytes"))
        ]
        scorers = [("rm", "rm"), ("value", "a/value"), ("pocket:judge", "")]
        for i, (name, place) in enumerate(scorers):
            loads.append(LoadRequest(name, str(self.models / place) if place else "", scorer=True, id=910 + i))
        self.do(*loads)
        self.replies.clear()

    def ask(self, *requests: WorkerRequest | WorkerReply) -> None:
        """Queues requests for the server."""
        for request in requests:
            self.lines.put(to_line(request))

    def do(self, *requests: WorkerRequest | WorkerReply) -> list[Any]:
        """Queues requests and runs turns until all have ended; their results, or Failed."""
        self.ask(*requests)
        self.finish({request.id for request in requests})
        last = {reply.id: reply for reply in self.replies if not isinstance(reply, TextChunk)}
        return [reply if isinstance(reply := last[request.id], Failed) else reply.result for request in requests]

    def finish(self, ids: set[int]) -> None:
        """Runs turns until these requests have ended."""
        while not ids <= {reply.id for reply in self.replies if not isinstance(reply, TextChunk)}:
            self.server.turn()


@pytest.fixture
def bench(models: Path) -> Bench:
    return Bench(models)


def own_episodes(models: Path, name: str, prompts: Sequence[Prompt], sampling: Sampling, seed: int, step: int) -> Any:
    policy, tokenizer = open_policy(models / name)
    episodes = draw_episodes(policy, tokenizer, prompts, sampling, seed, "sample", step)
    return policy, tokenizer, episodes


def logprobs_by_hand(policy: Any, episodes: Episodes, row: int, temperature: float) -> list[float]:
    """Log-probabilities of one row's tokens, without padding or cache: the slow obvious way."""
    prompt = episodes.prompts[row][episodes.prompt_mask[row]]
    response = episodes.responses[row][episodes.response_mask[row]]
    with torch.no_grad():
        logits = policy.logits(policy(torch.cat((prompt, response))[None]))[0, len(prompt) - 1 : -1]
        numbers: list[float] = token_logprobs(logits, response, temperature).tolist()
    return numbers


@pytest.mark.parametrize("temperature", [0.0, 0.7, 1.0])
def test_responses_and_measurements_equal_the_engines(bench: Bench, temperature: float) -> None:
    sampling = {"temperature": temperature, "top_k": 5.0, "max_new_tokens": 12}
    request = SampleRequest(
        "a", list(PROMPTS), sampling, 7, 3, ref="b", scorer="rm", value="value", stream=True, lens=True, id=1
    )
    [responses] = bench.do(request)
    own = Sampling(temperature, top_k=5, max_new_tokens=12)
    policy, tokenizer, episodes = own_episodes(bench.models, "a", PROMPTS, own, 7, 3)
    reference, _ = open_policy(bench.models / "b")
    texts = response_texts(episodes, tokenizer)
    assert [response.text for response in responses] == texts
    assert [response.tokens for response in responses] == episodes.response_mask.sum(1).tolist()
    assert any(response.finished for response in responses) and not all(response.finished for response in responses)
    assert [response.score for response in responses] == pytest.approx(
        RewardModelScorer(*open_scalar(bench.models / "rm")).score(PROMPTS, texts), abs=TOLERANCE
    )
    value, _ = open_scalar(bench.models / "a/value")
    for row, response in enumerate(responses):
        mine = logprobs_by_hand(policy, episodes, row, temperature or 1.0)
        theirs = logprobs_by_hand(reference, episodes, row, temperature or 1.0)
        kl = [one - other for one, other in zip(mine, theirs, strict=True)]
        whole = torch.cat([episodes.prompts[row][episodes.prompt_mask[row]], episodes.responses[row]])[None]
        before = int(episodes.prompt_mask[row].sum()) - 1
        values = value(whole)[0, before : before + response.tokens].tolist()
        assert [token.logprob for token in response.lens] == pytest.approx(mine, abs=TOLERANCE)
        assert [token.kl_nats for token in response.lens] == pytest.approx(kl, abs=TOLERANCE)
        assert [token.value for token in response.lens] == pytest.approx(values, abs=TOLERANCE)
        assert response.kl_nats == pytest.approx(sum(kl), abs=response.tokens * TOLERANCE)
        chunks = [reply.text for reply in bench.replies if isinstance(reply, TextChunk) and reply.row == row]
        assert "".join(chunks) == "".join(token.text for token in response.lens) == response.text
        assert not response.finished or response.lens[-1].text == ""


def long_seeds(bench: Bench, model: str = "a") -> list[int]:
    """Seeds by which a model responds to "red blue" with six tokens or more, none of the first six a special one."""
    asked = [SampleRequest(model, ["red blue"], LONG, seed, lens=True, id=100 + seed) for seed in range(80)]
    responses = zip(asked, bench.do(*asked), strict=True)
    return [one.seed for one, [response] in responses if sum(token.text != "" for token in response.lens[:6]) == 6]


def test_text_of_a_byte_level_model_is_streamed_whole(bench: Bench) -> None:
    prompts = ["grün", "東京 👍", "a red house"]
    [responses] = bench.do(SampleRequest("bytes", prompts, {"max_new_tokens": 40}, stream=True, id=1))
    for row, response in enumerate(responses):
        chunks = [reply.text for reply in bench.replies if isinstance(reply, TextChunk) and reply.row == row]
        assert "".join(chunks) == response.text and len(chunks) > 1
    assert any("\ufffd" in response.text for response in responses)  # a random model spells nonsense


def test_a_verbatim_prompt_is_continued_with_its_space(models: Path) -> None:
    bench = Bench(models, params={"template": "none"})
    prompts = ["a red"] * 100
    [responses] = bench.do(SampleRequest("bytes", list(prompts), {"max_new_tokens": 6}, id=1))
    sampling = Sampling(max_new_tokens=6)
    policy = ModelLoader("cpu", "none").policy("bytes", models / "bytes")
    episodes = draw_episodes(policy.model, policy.tokenizer, prompts, sampling, 0, "sample", 0)
    [prompt] = policy.tokenizer.encode_prompts(prompts[:1])
    for row, response in enumerate(responses):
        ids = episodes.responses[row][episodes.response_mask[row]].tolist()
        whole = policy.tokenizer.decode([*prompt, *ids])
        assert "a red" + response.text == whole
    assert {response.text[:1].isspace() for response in responses} == {True, False}
    [[templated]] = Bench(models).do(SampleRequest("bytes", ["a red"], {"max_new_tokens": 6}, id=1))
    assert not templated.text.startswith(" ")


def test_models_take_turns_and_share_random_numbers(bench: Bench) -> None:
    seed = min({*long_seeds(bench, "a")} & {*long_seeds(bench, "b")})
    bench.replies.clear()
    both = [SampleRequest(name, ["red blue"], LONG, seed, stream=True, id=i) for i, name in ((1, "a"), (2, "b"))]
    responses = [response[0] for response in bench.do(*both)]
    tokens = [reply.id for reply in bench.replies if isinstance(reply, TextChunk)]
    assert tokens[:12] == [1, 2] * 6
    for name, response in zip("ab", responses, strict=True):
        _, tokenizer, episodes = own_episodes(bench.models, name, ["red blue"], Sampling(max_new_tokens=24), seed, 0)
        assert [response.text] == response_texts(episodes, tokenizer)


def test_background_requests_wait_and_are_batched(bench: Bench) -> None:
    behind = [SampleRequest("a", ["red blue"] * 2, LONG, seed=i, stream=True, background=True, id=i) for i in (1, 2, 3)]
    behind.append(SampleRequest("b", ["red blue"], LONG, stream=True, background=True, id=4))
    bench.ask(*behind)
    bench.server.turn()
    assert {reply.id for reply in bench.replies} == {1, 2, 3}  # one column of all that are alike
    bench.ask(SampleRequest("a", ["why"], LONG, stream=True, id=5))
    before = len(bench.replies)
    bench.finish({5})
    assert {reply.id for reply in bench.replies[before:]} == {5}
    bench.finish({1, 2, 3, 4})
    done = {reply.id: reply.result for reply in bench.replies if isinstance(reply, Done)}
    together = [done[request.id] for request in behind]
    alone = [Bench(bench.models).do(request)[0] for request in behind]
    assert [[response.text for response in responses] for responses in together] == [
        [response.text for response in responses] for responses in alone
    ]


def test_a_cancelled_request_returns_its_text_so_far(bench: Bench) -> None:
    seed = long_seeds(bench)[0]
    whole = bench.do(SampleRequest("a", ["red blue"], LONG, seed, id=1))[0][0]
    bench.ask(SampleRequest("a", ["red blue"], LONG, seed, stream=True, id=2))
    for _ in range(5):
        bench.server.turn()
    [nothing] = bench.do(CancelRequest(2, id=3))
    bench.finish({2})
    [part] = next(reply.result for reply in bench.replies if isinstance(reply, Done) and reply.id == 2)
    assert nothing is None and part.text and whole.text.startswith(part.text)
    assert part.tokens == 5 and not part.finished
    assert "".join(reply.text for reply in bench.replies if isinstance(reply, TextChunk)) == part.text


def test_cancelling_a_background_request_keeps_the_others(bench: Bench) -> None:
    seeds = enumerate(long_seeds(bench)[:2], start=1)
    behind = [SampleRequest("a", ["red blue"], LONG, seed, background=True, id=i) for i, seed in seeds]
    alone = bench.do(*behind)
    bench.replies.clear()
    bench.ask(*behind, SampleRequest("b", ["why"] * 2, LONG, background=True, id=3))
    for _ in range(3):
        bench.server.turn()
    bench.ask(CancelRequest(1, id=4), CancelRequest(3, id=5), CancelRequest(77, id=6))
    bench.finish({1, 2, 3, 4, 5, 6})
    done = {reply.id: reply.result for reply in bench.replies if isinstance(reply, Done)}
    assert done[1][0].tokens == 3 and alone[0][0].text.startswith(done[1][0].text)
    assert done[2][0].text == alone[1][0].text
    assert done[3] == [SampledResponse("", 0, False)] * 2


MESSAGES = (Message("user", "red"), Message("assistant", "blue"))
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"prompts": ["red"] * 40 + [""]}, "a prompt has 0 tokens, a reads 1 to 31: ''"),
    ({"prompts": [" red" * 32]}, "a prompt has 32 tokens, a reads 1 to 31"),
    ({"sampling": {"temperature": -1}}, "temperature is -1; it must be 0 to 100"),
    ({"sampling": {"top_k": 1.5}}, "top_k is 1.5; it must be a whole number"),
    ({"sampling": {"heat": 1}}, "there is no sampling setting heat"),
    ({"model": "c"}, "c is not loaded"),
    ({"ref": "rm"}, "rm is not loaded"),
    ({"ref": "bytes"}, "bytes has another tokenizer than a, so KL cannot be computed"),
    ({"ref": "short"}, "short reads 8 tokens, but this may need 25; lower max_new_tokens"),
    ({"scorer": "a"}, "a is not loaded"),
    ({"value": "pocket:judge"}, "pocket:judge is not a model and has no values"),
]


@pytest.mark.parametrize(("changed", "sentence"), WRONG, ids=[sentence for _, sentence in WRONG])
@pytest.mark.parametrize("background", [False, True])
def test_an_error_fails_only_its_own_request(
    bench: Bench, changed: dict[str, Any], sentence: str, background: bool
) -> None:
    plain: dict[str, Any] = {"model": "a", "prompts": ["red"], "sampling": LONG, "background": background}
    failed, done = bench.do(SampleRequest(**{**plain, **changed}, id=1), SampleRequest(**plain, id=2))
    assert isinstance(failed, Failed) and failed.error.startswith(sentence)
    assert failed.exit_code == 2 and done[0].tokens > 0


def test_messages_scores_and_empty_requests(bench: Bench) -> None:
    conversation, none, judged = bench.do(
        SampleRequest("a", [MESSAGES], LONG, scorer="rm", id=1),
        SampleRequest("a", [], LONG, scorer="rm", ref="b", id=2),
        SampleRequest("a", ["What is the capital of France?"], LONG, scorer="pocket:judge", id=3),
    )
    [score] = RewardModelScorer(*open_scalar(bench.models / "rm")).score([MESSAGES], [conversation[0].text])
    assert conversation[0].tokens > 0 and none == []
    assert conversation[0].score == pytest.approx(score, abs=TOLERANCE) and 0 <= judged[0].score < 1


def test_an_internal_error_is_reported_and_ends_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("in a test")

    with monkeypatch.context() as patch:
        patch.setattr("slmctl.worker.generation._kl_and_lenses", broken)
        failed, whole = bench.do(
            SampleRequest("a", ["red"], LONG, ref="b", id=1), SampleRequest("a", ["red"], LONG, id=2)
        )
    assert isinstance(failed, Failed) and failed.exit_code == 70
    assert failed.error.startswith("internal error: ZeroDivisionError: in a test (details in ")
    assert "ZeroDivisionError: in a test" in Path(failed.error.split("details in ")[1].rstrip(")")).read_text()
    assert "Traceback" in capsys.readouterr().err and whole[0].tokens > 0
    os.unlink(failed.error.split("details in ")[1].rstrip(")"))


def test_out_of_memory_is_reported(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise RuntimeError("[enforce fail] . DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")

    monkeypatch.setattr("slmctl.worker.server.generate_columns", full)
    [failed] = bench.do(SampleRequest("a", ["red"], LONG, id=1))
    assert isinstance(failed, Failed) and failed.error.startswith("out of memory")


@pytest.mark.parametrize(
    "line", ["", "{}", "[1]", "\x00\xff", '{"kind": "LoadRequest"}', '{"kind": "Nope", "id": 3}', "{" * 9000]
)
def test_lines_that_are_not_requests_are_reported(bench: Bench, line: str) -> None:
    bench.lines.put(line + "\n")
    assert bench.do(SampleRequest("a", ["red"], LONG, id=1))[0][0].tokens > 0
    assert isinstance(bench.replies[0], Failed) and bench.replies[0].id == 0
    [failed] = bench.do(Done(2))
    assert isinstance(failed, Failed) and failed.error == "Done is a reply, not a request"


def test_the_least_recently_used_model_is_closed(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    open_it = ModelLoader.policy

    def counted(self: Any, name: str, directory: Path) -> Any:
        opened.append(name)
        return open_it(self, name, directory)

    monkeypatch.setattr(ModelLoader, "policy", counted)
    size = 4 * sum(p.numel() for p in open_policy(models / "a")[0].parameters())
    bench = Bench(models, room=2 * size)
    opened.clear()
    for number, name in enumerate(("a", "b", "a", "b", "a")):
        bench.do(SampleRequest(name, ["red"], LONG, id=number))
    assert opened == ["a", "b"]  # what was loaded after them had taken their place
    for number, name in enumerate(("short", "a", "b"), start=10):  # in place of b, not of a; and of short
        bench.do(SampleRequest(name, ["red"], LONG, id=number))
    assert opened == ["a", "b", "short", "b"]
    bench.do(
        LoadRequest("a", str(models / "a"), id=20),
        SampleRequest("short", ["red"], LONG, id=21),
        SampleRequest("a", ["red"], LONG, id=22),
    )
    assert opened[4:] == ["a", "short"]


def test_a_name_loaded_again_means_the_new_files(bench: Bench) -> None:
    before, other = bench.do(SampleRequest("a", ["red blue"], LONG, id=1), SampleRequest("b", ["red blue"], LONG, id=2))
    known, after = bench.do(
        LoadRequest("a", str(bench.models / "b"), id=3), SampleRequest("a", ["red blue"], LONG, id=4)
    )
    assert before[0].text != other[0].text == after[0].text
    assert (known.chat, len(known.checkpoint)) == (False, 64)
    failed, again = bench.do(
        LoadRequest("a", str(bench.models / "none"), id=5), SampleRequest("a", ["red blue"], LONG, id=6)
    )
    assert isinstance(failed, Failed) and failed.exit_code == 3 and again[0].text == other[0].text
    [code] = bench.do(LoadRequest("x.py:f", "", scorer=True, id=7))
    assert isinstance(code, Failed) and "is code" in code.error
