"""Two policies on the same prompts, for `slmctl eval`: a judge's verdicts, KL and lengths as one object."""

from collections.abc import Sequence
from typing import Any

from engine.core.errors import ConfigError
from engine.core.intervals import mean_interval
from engine.data.records import Prompt, prompt_text
from engine.model.sampling import Sampling
from engine.pocket.judge import judge as pocket_judge
from engine.pocket.prompts import all_requests, draw_requests
from engine.train.scoring import Scorer
from engine.train.win_rate import COMPONENTS, Answers, answer, distinct_2, win_rate
from slmctl.worker.models import BATCH, Policy

JUDGE = "pocket:judge"


def prompts_of_the_world(n: int, seed: int) -> list[Prompt]:
    """`n` different prompts of the pocket world's test split. Raises: ConfigError for more than there are."""
    if n > (most := len(all_requests("test"))):
        raise ConfigError(f"-n is {n}; the test split has {most} prompts")
    return [request.text for request in draw_requests("test", n, seed, "eval/prompts")]


def compare(
    a: Policy,
    b: Policy,
    prompts: Sequence[Prompt],
    sampling: Sampling,
    seed: int,
    tie_margin: float,
    judge: Scorer | None = None,
    scorer: Scorer | None = None,
) -> dict[str, Any]:
    """How B does against A on `prompts`, one response each, by the scores of `judge`.

    Without one the pocket judge says, and its components are there too. KL of B from A is there where both have one
    tokenizer, rewards where a `scorer` is given. All means come with their 95 % intervals, and so does what B has more
    than A.
    """
    shared = a.tokenizer.same_ids(b.tokenizer)
    first = answer(a.model, a.tokenizer, prompts, sampling, seed=seed, stream="eval/a", batch=BATCH)
    second = answer(
        b.model,
        b.tokenizer,
        prompts,
        sampling,
        seed=seed,
        stream="eval/b",
        batch=BATCH,
        reference=a.model if shared else None,
    )
    if judge is None:
        worth, parts = _judged(prompts, first, second)
    else:
        worth = [judge.score(prompts, side.texts) for side in (first, second)]
        parts = side_by_side("utility", *worth)
    kl, low, high = mean_interval(second.kl_nats) if shared else (None, None, None)
    rewards = [] if scorer is None else [scorer.score(prompts, side.texts) for side in (first, second)]
    return {
        **win_rate(worth[1], worth[0], tie_margin).as_row(),
        "kl_nats": kl,
        "kl_nats_low": low,
        "kl_nats_high": high,
        "length_ratio": second.length_mean / first.length_mean,
        **side_by_side("tokens", first.tokens, second.tokens),
        **_numbers("a", first),
        **_numbers("b", second),
        **parts,
        **(side_by_side("reward", *rewards) if rewards else {}),
    }


def _judged(prompts: Sequence[Prompt], *sides: Answers) -> tuple[list[list[float]], dict[str, float]]:
    """The pocket judge's utilities of each side, and all that it says side by side; right is what can be."""
    texts = [prompt_text(prompt) for prompt in prompts]
    judged = [[pocket_judge(prompt, text) for prompt, text in zip(texts, side.texts, strict=True)] for side in sides]
    parts = dict[str, float]()
    for part in (*COMPONENTS, "correct"):
        values = [[getattr(one, part) for one in own if getattr(one, part) is not None] for own in judged]
        parts |= side_by_side(part, *values) if all(values) else {}
    return [[one.utility for one in own] for own in judged], parts


def side_by_side(quantity: str, a: Sequence[float], b: Sequence[float]) -> dict[str, float]:
    """Means of A and B, and of B - A prompt by prompt, each with the ends of its 95 % interval.

    Two answers to one prompt are alike in what it asks for, so that the difference is known better than either mean.
    """
    of = {"a": a, "b": b, "difference": [second - first for first, second in zip(a, b, strict=True)]}
    ends = ("", "_low", "_high")
    return {
        f"{quantity}_{name}{end}": number
        for name, values in of.items()
        for end, number in zip(ends, mean_interval(values), strict=True)
    }


def _numbers(name: str, answers: Answers) -> dict[str, float]:
    return {
        f"finished_{name}": sum(answers.finished) / len(answers.finished),
        f"distinct_2_{name}": distinct_2(answers.texts),
    }
