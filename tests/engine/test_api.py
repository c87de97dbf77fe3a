"""What `import engine` offers: models, samples, scores, comparisons and training, loaded at the first use."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import engine
from tests.support.paths import SMALL_PRESET
from tests.support.tiny_models import PROMPT, make_models


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SLMCTL_RUNS", str(tmp_path))
    return tmp_path


def test_importing_the_engine_loads_no_torch() -> None:
    code = (
        "import engine, sys; assert 'torch' not in sys.modules; engine.StepCompleted, engine.EngineError, dir(engine)"
    )
    code += "; assert 'torch' not in sys.modules; engine.sample; assert 'torch' in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert all(getattr(engine, name) is not None for name in engine.__all__)
    assert not hasattr(engine, "tune") and set(engine.__all__) == set(dir(engine))


def test_a_policy_opens_samples_and_is_scored(runs: Path) -> None:
    make_models(runs)
    policy = engine.open_policy("tiny:ppo")
    responses = engine.sample(policy, [PROMPT] * 3, seed=1, max_new_tokens=8)
    assert responses == engine.sample(policy, [PROMPT] * 3, seed=1, max_new_tokens=8)
    assert all(1 <= response.tokens <= 8 for response in responses)
    texts = [response.text for response in responses]
    assert engine.score("tiny:rm", [PROMPT] * 3, texts) == engine.open_scorer("tiny:rm").score([PROMPT] * 3, texts)
    assert engine.score("pocket:judge", [PROMPT], ["The capital of France is Paris."]) > [0.5]
    assert engine.score(lambda prompts, texts: [float(len(text)) for text in texts], [PROMPT], ["four"]) == [4.0]
    result = engine.compare(engine.open_policy("tiny:sft"), policy, [PROMPT] * 4, max_new_tokens=8)
    assert result["prompts"] == 4 and result["wins"] + result["ties"] + result["losses"] == 4
    with pytest.raises(engine.EngineError, match="is a reward model"):
        engine.open_policy("tiny:rm")


def test_a_stage_trains_as_an_iterator_of_its_events(runs: Path) -> None:
    def train(**more: Any) -> list[engine.Event]:
        return list(engine.train_stage("sft", preset=str(SMALL_PRESET), run="mine", **more))

    settings = {"seed": 3, "sft.lr": 0.002}
    first = next(iter(engine.train_stage("sft", preset=str(SMALL_PRESET), run="mine", settings=settings)))
    assert type(first).__name__ == "RunStarted"
    events = train()  # the first call was abandoned: this one resumes the run
    steps = [event for event in events if isinstance(event, engine.StepCompleted)]
    assert {event.stage for event in steps} == {"pretrain", "sft"} and "sft/loss" in steps[-1].metrics
    assert any(isinstance(event, engine.StageFinished) and event.stage == "sft" for event in events)
    assert engine.open_policy("mine:sft").name == "mine:sft"
    assert train() == []
    with pytest.raises(engine.EngineError, match="has started pretrain with seed = 3, and now it is 4"):
        train(settings={"seed": 4})
