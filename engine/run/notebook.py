"""What `import engine` offers to notebooks and scripts: open models, sample, score, compare, and train a stage.

Thin functions with names and defaults of the command line; `engine` loads this file at the first use of one of them.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from engine.core.config import EvalConfig
from engine.core.events import Event
from engine.data.records import Prompt
from engine.model.sampling import Sampling
from engine.run.compare import compare as compare_policies
from engine.run.driver import iterate
from engine.run.inference import ModelLoader, Policy, Response
from engine.run.planning import RunRequest, prepare
from engine.rundir.directory import runs_home
from engine.rundir.references import is_model, resolve_policy, resolve_scorer
from engine.train.scoring import FunctionScorer, Scorer
from engine.train.win_rate import PromptSet

ScoreFunction = Callable[[Sequence[Any], Sequence[str]], Sequence[float]]


def open_policy(reference: str, *, runs: Path | None = None, device: str = "auto") -> Policy:
    """The policy that a reference such as tiny:ppo, a directory or hf:ORG/NAME means.

    Raises: EngineError with one sentence where it cannot be opened.
    """
    return ModelLoader(device).policy(reference, resolve_policy(reference, _home(runs)))


def open_scorer(scorer: str | ScoreFunction, *, runs: Path | None = None, device: str = "auto") -> Scorer:
    """A scorer: a reward model by reference, pocket:judge or a persona, FILE.py:FUNCTION, or a Python function.

    A function takes prompts and responses and returns one finite number per response. Raises: EngineError.
    """
    if not isinstance(scorer, str):
        return FunctionScorer(scorer, getattr(scorer, "__name__", "given"))
    directory = resolve_scorer(scorer, _home(runs)) if is_model(scorer) else None
    return ModelLoader(device).scorer(scorer, directory)


def sample(
    policy: Policy,
    prompts: Sequence[Prompt],
    *,
    seed: int = 0,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    max_new_tokens: int = 64,
) -> list[Response]:
    """One response per prompt; the same seed gives the same responses. Raises: ConfigError for a prompt of no use."""
    sampling = Sampling(temperature, top_k, top_p, max_new_tokens)
    return [response for _, response in policy.respond_to_all(prompts, sampling, seed)]


def score(scorer: Scorer | str | ScoreFunction, prompts: Sequence[Prompt], responses: Sequence[str]) -> list[float]:
    """One score per response, of a scorer or of whatever `open_scorer` takes. Raises: EngineError."""
    opened = open_scorer(scorer) if isinstance(scorer, str) or callable(scorer) else scorer
    return opened.score(prompts, responses)


def compare(
    a: Policy, b: Policy, prompts: Sequence[Prompt], *, judge: Scorer | None = None, seed: int = 0, **sampling: Any
) -> dict[str, Any]:
    """How often B's responses beat A's by a judge's scores (default: the pocket judge), with 95% intervals, as
    `slmctl eval` prints it. `sampling` are options of `sample`."""
    return compare_policies(a, b, PromptSet(prompts, Sampling(**sampling), seed), EvalConfig().tie_margin, judge)


def train_stage(
    stage: str,
    *,
    preset: str | None = None,
    run: str | None = None,
    parent: str | None = None,
    fresh: bool = False,
    settings: Mapping[str, Any] | None = None,
    runs: Path | None = None,
    **inputs: str,
) -> Iterator[Event]:
    """Trains a stage of a run (or all of them: "run") and what it needs, and yields every event once it is recorded.

    `inputs` are data, prompts, init, ref, reward and judge; `settings` such as {"ppo.kl_coef": 0.1} and `parent` (a run
    to share stages with) work as --set and --from do. What is finished is not repeated: called again after an
    interruption, it resumes at the last save. Raises: EngineError.
    """
    overrides = {
        name: value if isinstance(value, str) else json.dumps(value) for name, value in (settings or {}).items()
    }
    request = RunRequest(stage, preset, run, parent, fresh, overrides=overrides, inputs=inputs)
    prepared = prepare(request, _home(runs), os.environ)
    return iterate(prepared) if prepared.stages else iter(())


def _home(runs: Path | None) -> Path:
    return runs_home(os.environ) if runs is None else runs
