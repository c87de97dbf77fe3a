"""Two policies on the same prompts: win rate, KL, lengths and judge scores, as `slmctl eval` prints them."""

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from engine.core.errors import ConfigError
from engine.core.intervals import mean_interval
from engine.data.records import Prompt, prompt_text
from engine.pocket.judge import judge as pocket_judge
from engine.pocket.prompts import all_requests, draw_requests
from engine.run.inference import Policy
from engine.train.scoring import Scorer
from engine.train.win_rate import COMPONENTS, Answers, PromptSet, answer, distinct_2, win_rate

JUDGE = "pocket:judge"


def pocket_test_prompts(n: int, seed: int) -> list[Prompt]:
    """`n` different prompts of the pocket world's test split. Raises: ConfigError if it has fewer."""
    if n > (most := len(all_requests("test"))):
        raise ConfigError(f"-n is {n}; the test split has {most} prompts")
    return [request.text for request in draw_requests("test", n, seed, "eval/prompts")]


def compare(
    a: Policy,
    b: Policy,
    asked: PromptSet,
    tie_margin: float,
    judge: Scorer | None = None,
    scorer: Scorer | None = None,
) -> dict[str, Any]:
    """Compares B with A on the prompts of `asked`, one response each, by the scores of `judge`.

    The default is the pocket judge, with its components. The KL of B from A is included if both share a tokenizer,
    rewards if there is a `scorer`. All means and the differences B - A have 95% intervals.
    """
    shared, prompts = a.tokenizer.same_ids(b.tokenizer), asked.prompts
    first = answer(a.model, a.tokenizer, asked, "eval/a")
    second = answer(b.model, b.tokenizer, asked, "eval/b", a.model if shared else None)
    if judge is None:
        scores, parts = _judged(prompts, first, second)
    else:
        scores = [judge.score(prompts, side.texts) for side in (first, second)]
        parts = means_with_intervals("utility", *scores)
    kl, low, high = mean_interval(second.kl_nats) if shared else (None, None, None)
    rewards = [] if scorer is None else [scorer.score(prompts, side.texts) for side in (first, second)]
    return {
        **win_rate(scores[1], scores[0], tie_margin).as_row(),
        "kl_nats": kl,
        "kl_nats_low": low,
        "kl_nats_high": high,
        "length_ratio": second.length_mean / first.length_mean,
        **means_with_intervals("tokens", first.tokens, second.tokens),
        **{f"finished_{name}": fmean(side.finished) for name, side in (("a", first), ("b", second))},
        **{f"distinct_2_{name}": distinct_2(side.texts) for name, side in (("a", first), ("b", second))},
        **parts,
        **(means_with_intervals("reward", *rewards) if rewards else {}),
    }


def means_with_intervals(quantity: str, a: Sequence[float], b: Sequence[float]) -> dict[str, float]:
    """Means of A, of B, and of B - A prompt by prompt, each with its 95% interval.

    Two responses to one prompt have much in common, so the difference is known better than either mean.
    """
    series = {"a": a, "b": b, "difference": [second - first for first, second in zip(a, b, strict=True)]}
    return {
        f"{quantity}_{name}{suffix}": number
        for name, values in series.items()
        for suffix, number in zip(("", "_low", "_high"), mean_interval(values), strict=True)
    }


def _judged(prompts: Sequence[Prompt], *sides: Answers) -> tuple[list[list[float]], dict[str, float]]:
    """The pocket judge's utilities of each side, and its components side by side; correctness of answerable prompts."""
    texts = [prompt_text(prompt) for prompt in prompts]
    judged = [[pocket_judge(prompt, text) for prompt, text in zip(texts, side.texts, strict=True)] for side in sides]
    parts = dict[str, float]()
    for part in (*COMPONENTS, "correct"):
        values = [[getattr(one, part) for one in own if getattr(one, part) is not None] for own in judged]
        parts |= means_with_intervals(part, *values) if all(values) else {}
    return [[one.utility for one in own] for own in judged], parts
