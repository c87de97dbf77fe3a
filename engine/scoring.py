"""Anything that turns prompt and response text into scores, behind one Protocol.

A scorer is given text and encodes it itself, in PPO too: `slmctl score` and PPO agree, and a reward model may have
another tokenizer than the policy.
"""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from engine.batching import right_pad
from engine.errors import ConfigError
from engine.heads import ScalarModel
from engine.pocket.judge import judge
from engine.pocket.labelers import PERSONAS, Persona, persona_utility
from engine.records import Prompt, prompt_text
from engine.references import POCKET
from engine.settings import nearest
from engine.tokenizer import Tokenizer

SCORING_ROWS = 64  # few enough that rows of one batch are of like length


class Scorer(Protocol):
    """One number a response; higher is better."""

    def score(self, prompts: Sequence[Prompt], responses: Sequence[str]) -> list[float]:
        """Scores, one a response, in the order given."""


class RewardModelScorer:
    """A reward model's score: its logit less the bias, so that demonstrations average 0."""

    def __init__(self, model: ScalarModel, tokenizer: Tokenizer):
        self.model, self.tokenizer = model, tokenizer

    @torch.no_grad()
    def score(self, prompts: Sequence[Prompt], responses: Sequence[str]) -> list[float]:
        """Scores of whole responses, EOS appended; a row longer than the model's context keeps its end."""
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


class JudgeScorer:
    """The pocket judge's utility, by the weights of one persona. Its prompt is the last user turn."""

    def __init__(self, persona: Persona | None = None):
        self.persona = persona

    def score(self, prompts: Sequence[Prompt], responses: Sequence[str]) -> list[float]:
        """Utilities in [0, 1]."""
        judged = [judge(prompt_text(prompt), response) for prompt, response in zip(prompts, responses, strict=True)]
        if self.persona is None:
            return [judgement.utility for judgement in judged]
        return [persona_utility(judgement, self.persona) for judgement in judged]


def pocket_scorer(reference: str) -> JudgeScorer:
    """The judge of the pocket world, or one of its personas, by a name such as `pocket:concise`.

    Raises: ConfigError for a name that is neither.
    """
    name = reference.removeprefix(POCKET)
    if name == "judge":
        return JudgeScorer()
    if name not in PERSONAS:
        names = ["judge", *PERSONAS]
        raise ConfigError(f"pocket has no scorer {name!r}{nearest(name, names)} (scorers: {', '.join(names)})")
    return JudgeScorer(PERSONAS[name])


def score_rows(
    prompts: Sequence[Prompt], responses: Sequence[str], tokenizer: Tokenizer, context: int
) -> list[list[int]]:
    """The ids that a reward model reads: prompt, response, EOS, cut from the left to the context."""
    encoded = zip(tokenizer.encode_prompts(prompts), tokenizer.encode_responses(responses), strict=True)
    return [(prompt + response)[-context:] for prompt, response in encoded]
