"""The evaluation stage: base, SFT, best-of-n and PPO policies judged on the same test prompts, and the reward model's
accuracy beside its ceiling.

Writes eval.jsonl and gives the numbers of result.json. Only the labelers, PPO's alert and this stage use the judge: no
stage trains on it, selects by it or stops on it.
"""

import json
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from engine.core.config import EvalConfig
from engine.core.events import (
    EvalCompleted,
    Event,
    PhaseProgress,
    SamplesDrawn,
    StageFinished,
    StageStarted,
    StepCompleted,
)
from engine.core.intervals import mean_interval
from engine.core.untrusted_files import read_json
from engine.data.records import prompt_text
from engine.model.sampling import Sampling
from engine.model.tokenizer import Tokenizer
from engine.model.transformer import LanguageModel, parameter_count
from engine.pocket.judge import JudgeScores, judge
from engine.pocket.prompts import PocketRequest, draw_requests
from engine.pocket.training_data import correctness_pairs
from engine.rundir.directory import write_text
from engine.train.comparisons import HELD_OUT_FILE, read_drawn
from engine.train.rm import calibration_error, longer_baseline, ranking_scores, scored_pairs, share_right
from engine.train.saver import StageLoop
from engine.train.scoring import RewardModelScorer, Scorer
from engine.train.win_rate import (
    Answers,
    PromptSet,
    answer,
    best_of,
    component_means,
    distinct_2,
    group_means,
    pair_accuracy,
    ranking_ceiling,
    verdict,
    win_rate,
)

CORRECTNESS_PAIRS = 500
EXAMPLES_SHOWN = 3
Policy = tuple[LanguageModel, Tokenizer]


@dataclass(frozen=True)
class EvaluatedPolicies:
    """What is evaluated: the policy that SFT started from, the one that PPO started from, PPO's, and PPO's scorer.

    `gain` is the logits per unit of score, if the scorer is a reward model that recorded them.
    """

    base: Policy
    sft: Policy
    ppo: Policy
    scorer: Scorer
    gain: float | None = None


@dataclass(frozen=True)
class JudgedAnswers:
    """One policy's answers with the judge's and the scorer's scores of each."""

    answers: Answers
    judged: list[JudgeScores]
    scores: list[float]

    def row(self, i: int) -> dict[str, Any]:
        """Its part of row `i` of eval.jsonl."""
        return {
            "response": self.answers.texts[i],
            "tokens": self.answers.tokens[i],
            "finished": self.answers.finished[i],
            "score": self.scores[i],
            **asdict(self.judged[i]),
        }


def evaluate_run(
    policies: EvaluatedPolicies,
    config: EvalConfig,
    comparisons: Path | None,
    sampled: Sequence[SamplesDrawn],
    loop: StageLoop,
    eval_file: Path,
    publish: Callable[[dict[str, Any]], None],
) -> Iterator[Event]:
    """Judges everything; yields the stage's events, one step per policy and one for the reward model.

    `comparisons` is the directory of the world's held-out rankings, None where there is none; `sampled` is what PPO
    logged while it trained. `publish` is given the numbers at the end. Nothing is saved in between: an interrupted
    evaluation starts over.
    """
    # The test split: no stage has trained on these prompts or chosen a checkpoint by them.
    requests, judged = draw_requests("test", config.prompts, loop.seed, "eval/prompts"), dict[str, JudgedAnswers]()
    sampling = Sampling(config.temperature, max_new_tokens=config.max_new_tokens)
    asked = PromptSet([request.text for request in requests], sampling, loop.seed, config.batch)
    names = ("base", "sft", f"best_of_{config.best_of}", "ppo")
    yield StageStarted("eval", len(names) + 1, {"prompts": len(requests)})
    for step, name in enumerate(names, start=1):
        began = time.perf_counter()
        answers = yield from answers_of(name, policies, asked, config.best_of, loop)
        if answers is None:
            return
        scored = zip(asked.prompts, answers.texts, strict=True)
        judgements = [judge(prompt_text(prompt), text) for prompt, text in scored]
        judged[name] = JudgedAnswers(answers, judgements, policies.scorer.score(asked.prompts, answers.texts))
        utility = fmean(one.utility for one in judged[name].judged)
        yield StepCompleted("eval", step, {"eval/utility": utility, "eval/step_s": time.perf_counter() - began})
        if loop.should_stop():
            return
    result = {"parameters": parameter_count(policies.ppo[0])} | policy_numbers(requests, judged, config)
    result |= reward_model_numbers(policies, comparisons, loop.seed) | {"curve": curve(sampled)}
    rows = [json.dumps(row, ensure_ascii=False) for row in eval_rows(requests, judged, config.tie_margin)]
    write_text(eval_file, "".join(f"{row}\n" for row in rows))
    metrics = {f"eval/{name}": value for name, value in result.items() if isinstance(value, float)}
    yield StepCompleted("eval", len(names) + 1, {"eval/utility": result["utility_ppo"]})
    yield EvalCompleted("eval", len(names) + 1, metrics)
    yield StageFinished("eval", len(names) + 1, metrics)
    publish(result)


def answers_of(
    name: str, policies: EvaluatedPolicies, asked: PromptSet, best_of_n: int, loop: StageLoop
) -> Generator[Event, None, Answers | None]:
    """The answers of one policy, None where it is asked to stop; best-of-n takes n more samples of the SFT policy.

    Yields the progress of best-of-n, by far the longest.
    """
    if not name.startswith("best_of"):
        policy = {"base": policies.base, "sft": policies.sft, "ppo": policies.ppo}[name]
        # KL(ppo || sft) is what the reward cost; a win rate is to be read beside it (Gao et al. 2022).
        comparable = name == "ppo" and policy[1].same_ids(policies.sft[1])  # KL compares the same tokens
        return answer(*policy, asked, f"eval/{name}", policies.sft[0] if comparable else None)
    # Best-of-n is the simplest way to optimize against a scorer: it needs no training, and its KL is at most
    # log n - (n - 1) / n. PPO has to beat it.
    several = []
    for k in range(best_of_n):
        several.append(answer(*policies.sft, asked, f"eval/best_of/{k}"))
        yield PhaseProgress("eval", f"best of {best_of_n}", k + 1, best_of_n)
        if k + 1 < best_of_n and loop.should_stop():
            return None
    return picked(several, best_of(policies.scorer, asked.prompts, several))


def picked(several: Sequence[Answers], choice: Sequence[int]) -> Answers:
    """For each prompt, the answer at the index in `choice` among `several` draws."""
    return Answers(
        [several[k].texts[i] for i, k in enumerate(choice)],
        [several[k].tokens[i] for i, k in enumerate(choice)],
        [several[k].finished[i] for i, k in enumerate(choice)],
        [],
    )


def policy_numbers(
    requests: Sequence[PocketRequest], judged: Mapping[str, JudgedAnswers], config: EvalConfig
) -> dict[str, Any]:
    """The numbers of result.json that come from the judged answers."""
    sft, ppo = judged["sft"], judged["ppo"]
    utilities = {name: [one.utility for one in own.judged] for name, own in judged.items()}
    groups = [request.group for request in requests]
    result: dict[str, Any] = win_rate(utilities["ppo"], utilities["sft"], config.tie_margin).as_row()
    result |= {
        f"{name}_win_rate": win_rate(utilities[name], utilities["sft"], config.tie_margin).rate
        for name in judged
        if name not in ("sft", "ppo")
    }
    kl = ppo.answers.kl_nats
    result |= {"kl_nats": fmean(kl) if kl else None, "tie_margin": config.tie_margin}
    # Length is the easiest thing to exploit: a judge may prefer longer answers, and a win rate alone would not show it
    # (Singhal et al. 2023).
    result["length_ratio"] = ppo.answers.length_mean / sft.answers.length_mean
    longer = [mine - other for mine, other in zip(ppo.answers.tokens, sft.answers.tokens, strict=True)]
    ends = ("", "_low", "_high")
    result |= {f"tokens_difference{end}": n for end, n in zip(ends, mean_interval(longer), strict=True)}
    for name, own in judged.items():
        result |= component_means(name, own.judged)
        result[f"distinct_2_{name}"] = distinct_2(own.answers.texts)
        result[f"tokens_{name}"] = own.answers.length_mean
        result[f"reward_{name}"] = fmean(own.scores)
    result["groups"] = {name: group_means(groups, judged[name].judged) for name in ("sft", "ppo")}
    result["examples"] = [
        {"prompt": requests[i].text, "sft": sft.answers.texts[i], "ppo": ppo.answers.texts[i]}
        for i in first_of_each(groups)[:EXAMPLES_SHOWN]
    ]
    return result


def first_of_each(groups: Sequence[str]) -> list[int]:
    """The index where each group occurs first, in order."""
    return sorted({group: i for i, group in reversed(list(enumerate(groups)))}.values())


def reward_model_numbers(policies: EvaluatedPolicies, comparisons: Path | None, seed: int) -> dict[str, Any]:
    """Held-out accuracy with its ceiling and length baseline, calibration, and accuracy on correctness alone.

    All None where the scorer is not a reward model; those that need held-out rankings where there are none.
    """
    reward, gain = policies.scorer, policies.gain
    names = ("correctness_accuracy", "accuracy", "ceiling", "longer_baseline", "calibration_error")
    numbers: dict[str, Any] = dict.fromkeys((*(f"rm_{name}" for name in names), "agreement"))
    if not isinstance(reward, RewardModelScorer):
        return numbers
    # Pairs that differ in correctness alone: a reward model that only knows style or length gets half of them right.
    right = pair_accuracy(reward, correctness_pairs(CORRECTNESS_PAIRS, "test", seed))
    numbers["rm_correctness_accuracy"] = right
    if comparisons is None:
        return numbers
    about = read_json(comparisons / "slmctl.json")["metrics"]
    rankings, utilities = read_drawn(comparisons / HELD_OUT_FILE)
    # Labels are noisy, so 100 % is out of reach: accuracy is to be read between the length baseline and the ceiling.
    pairs = scored_pairs(ranking_scores(reward.model, reward.tokenizer, rankings), rankings)
    return numbers | {
        "rm_accuracy": share_right(pairs),
        "rm_ceiling": ranking_ceiling(utilities, rankings, about["comparisons/scale"], about["comparisons/tie_margin"]),
        "rm_longer_baseline": longer_baseline(rankings),
        "rm_calibration_error": None if gain is None else calibration_error([gain * (a - b) for a, b in pairs]),
        "agreement": about["comparisons/agreement"],
    }


def curve(sampled: Sequence[SamplesDrawn]) -> list[dict[str, float]]:
    """KL in nats, score and the judge's utility of PPO's samples by step, which shows whether a higher score still
    means a better answer. Source: Gao et al. 2022 (gold against proxy reward).
    """
    return [
        {
            "step": drawn.step,
            "kl_nats": fmean(row["kl_nats"] for row in drawn.samples),
            "reward": fmean(row["score"] for row in drawn.samples),
            "utility": fmean(judge(row["prompt"], row["response"]).utility for row in drawn.samples),
        }
        for drawn in sampled
        if drawn.stage == "ppo"
    ]


def eval_rows(
    requests: Sequence[PocketRequest], judged: Mapping[str, JudgedAnswers], tie_margin: float
) -> Iterator[dict[str, Any]]:
    """The rows of eval.jsonl: the prompt, every policy's judged answer, and PPO's verdict against SFT."""
    for i, request in enumerate(requests):
        own = {name: one.row(i) for name, one in judged.items()}
        result = verdict(own["ppo"]["utility"], own["sft"]["utility"], tie_margin)
        about = {"prompt": request.text, "kind": request.kind, "group": request.group}
        kl = judged["ppo"].answers.kl_nats
        yield {**about, **own, "kl_nats": kl[i] if kl else None, "verdict": result}
