"""Everything that turns the text of prompts and responses into scores, behind one Protocol.

A scorer takes text and encodes it itself, in PPO too, so `slmctl score` and PPO agree, and a reward model may have
another tokenizer than the policy.
"""

import importlib.util
import math
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from engine.core.errors import ConfigError, EngineError, FileError, did_you_mean
from engine.data.records import Prompt, plain_prompt, prompt_text
from engine.model.batching import right_pad
from engine.model.heads import ScalarModel
from engine.model.tokenizer import Tokenizer
from engine.pocket.judge import judge
from engine.pocket.labelers import PERSONAS, Persona, persona_utility, pocket_scorer_name
from engine.rundir.references import is_function

SCORING_ROWS = 64  # few enough that rows of one batch are of like length


class Scorer(Protocol):
    """One number per response; higher is better."""

    def score(self, prompts: Sequence[Prompt], responses: Sequence[str]) -> list[float]:
        """Scores, one per response, in the order given."""


class RewardModelScorer:
    """A reward model's score: its logit minus the bias, so that demonstrations average 0."""

    def __init__(self, model: ScalarModel, tokenizer: Tokenizer):
        self.model, self.tokenizer = model, tokenizer

    @torch.no_grad()
    def score(self, prompts: Sequence[Prompt], responses: Sequence[str]) -> list[float]:
        """Scores of whole responses, EOS appended; a row longer than the model's context keeps its end."""
        # Rows of like length are scored together; padding is on the right, where a causal model does not see it.
        rows = score_rows(prompts, responses, self.tokenizer, self.model.architecture.context)
        order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
        scores = [0.0] * len(rows)
        for start in range(0, len(order), SCORING_ROWS):
            chosen = order[start : start + SCORING_ROWS]
            for i, score in zip(chosen, self._scores([rows[i] for i in chosen]).tolist(), strict=True):
                scores[i] = score
        return scores

    def logit(self, score: float) -> float:
        """What transformers' sequence classifier gives for a response with this score."""
        return score + float(self.model.bias)

    def _scores(self, rows: Sequence[Sequence[int]]) -> Tensor:
        tokens, lengths = right_pad(rows, self.tokenizer.pad_id, self.model.score.weight.device)
        return self.model.scores(tokens, lengths)


@dataclass(frozen=True)
class JudgeScorer:
    """The pocket judge's utility, by the weights of one persona. Its prompt is the last user turn."""

    persona: Persona | None = None

    def score(self, prompts: Sequence[Prompt], responses: Sequence[str]) -> list[float]:
        """Utilities in [0, 1]."""
        # The judge is the ground truth of the pocket world; outside of it, only people can say what is better.
        judged = [judge(prompt_text(prompt), response) for prompt, response in zip(prompts, responses, strict=True)]
        if self.persona is None:
            return [judgement.utility for judgement in judged]
        return [persona_utility(judgement, self.persona) for judgement in judged]


def pocket_scorer(reference: str) -> JudgeScorer:
    """The judge of the pocket world, or one of its personas, by a name such as `pocket:concise`.

    Raises: ConfigError for a name that is neither.
    """
    return JudgeScorer(PERSONAS.get(pocket_scorer_name(reference)))


class FunctionScorer:
    """A person's own function: `function(prompts, responses)` gives one finite number per response.

    A prompt is text, or a list of {role, content} where it is a conversation.
    """

    def __init__(self, function: Callable[..., Any], name: str):
        self.function, self.name = function, name

    def score(self, prompts: Sequence[Prompt], responses: Sequence[str]) -> list[float]:
        """What the function returns. Raises: EngineError if it raises, or returns anything but one number each."""
        # One call for a whole rollout, so that a function may batch its own work.
        plain = [plain_prompt(prompt) for prompt in prompts]
        try:
            given = self.function(plain, list(responses))
            numbers = None if given is None else list(given)
        except Exception as error:  # the user's code
            code = getattr(self.function, "__code__", None)  # a class or a builtin has none
            place = last_line(error, code and code.co_filename)
            raise EngineError(f"the function {self.name} raised {type(error).__name__}: {error}{place}") from error
        if numbers is None or len(numbers) != len(responses):
            found = "None" if numbers is None else f"{len(numbers)} numbers"
            raise EngineError(
                f"the function {self.name} returned {found} for {len(responses)} responses; "
                "it must return one number for each"
            )
        return [self._number(value, response) for value, response in zip(numbers, responses, strict=True)]

    def _number(self, value: Any, response: str) -> float:
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = math.nan
        # One NaN would spread through the whitening to every advantage of the rollout.
        if not math.isfinite(number):
            raise EngineError(
                f"the function {self.name} returned {value!r} for {response[:40]!r}; it must be a finite number"
            )
        return number


def function_scorer(reference: str) -> FunctionScorer:
    """The function that `path.py:function` names, its file run. Only what a person typed may come here: it is code.

    Raises: FileError where the file cannot be run; ConfigError where it holds no such function.
    """
    file, _, name = reference.rpartition(":")
    spec = importlib.util.spec_from_file_location("slmctl_reward", Path(file).expanduser())
    assert spec is not None and spec.loader is not None, reference
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # the user's code
        place = last_line(error, spec.origin)
        raise FileError(f"{file} cannot be run: {type(error).__name__}: {error}{place}") from error
    function = getattr(module, name, None)
    if not callable(function):
        names = [known for known, value in vars(module).items() if callable(value)]
        raise ConfigError(f"{file} has no function {name!r}{did_you_mean(name, names)}")
    return FunctionScorer(function, reference)


def last_line(error: Exception, file: str | None) -> str:
    """The last line of a person's own `file` that led to an error, as the end of a sentence; empty where none did."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    return f" ({file}, line {lines[-1]})" if lines else ""


def named_scorer(reference: str) -> Scorer:
    """A scorer that is no model: one of the world's, or a function. Raises: ConfigError, FileError."""
    return function_scorer(reference) if is_function(reference) else pocket_scorer(reference)


def score_rows(
    prompts: Sequence[Prompt], responses: Sequence[str], tokenizer: Tokenizer, context: int
) -> list[list[int]]:
    """The ids that a reward model reads: prompt, response, EOS, cut from the left to the context."""
    encoded = zip(tokenizer.encode_prompts(prompts), tokenizer.encode_responses(responses), strict=True)
    # Cut on the left: the score is read at EOS, so the end of the response must stay.
    return [(prompt + response)[-context:] for prompt, response in encoded]
