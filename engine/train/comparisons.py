"""Comparisons: K responses per prompt from the SFT policy, ranked by simulated labelers.

The noise of the labelers is set so that two of them agree on the wanted share of pairs (Ouyang et al. 2022 measured
72.6 %). Held-out prompts are handled the same way and never trained on.
"""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

from engine.core.config import ComparisonsConfig
from engine.core.errors import ConfigError
from engine.core.events import Event, StageStarted, StepCompleted
from engine.core.seeding import python_rng
from engine.data.records import Ranking
from engine.model.checkpoint import write_directory, write_json
from engine.model.sampling import Sampling
from engine.model.tokenizer import Tokenizer
from engine.model.transformer import LanguageModel
from engine.pocket.judge import judge
from engine.pocket.labelers import (
    accuracy_ceiling,
    measured_agreement,
    noisy_ranks,
    persona_named,
    persona_utility,
    solve_scale,
    utility_differences,
)
from engine.train.rollout import draw_episodes, ended, response_texts
from engine.train.saver import StageLoop

LABELERS = ("labeler", "second labeler")  # the second only measures agreement: its rankings are not kept
TRAIN_FILE, HELD_OUT_FILE = "comparisons.jsonl", "held_out.jsonl"


@dataclass(frozen=True)
class PromptDraw:
    """One prompt and how many responses to draw for it."""

    prompt: str
    responses: int
    held_out: bool


def draw_comparisons(
    policy: LanguageModel,
    tokenizer: Tokenizer,
    prompts: Sequence[str],
    held_out: Sequence[str],
    config: ComparisonsConfig,
    loop: StageLoop,
) -> Iterator[Event]:
    """Draws, ranks and writes comparisons; yields the stage's events. Works in steps, so that it can be resumed."""
    chunks = draws_in_chunks(prompts, held_out, config, loop.seed)
    loop, numbers = replace(loop, steps=len(chunks)), dict[str, Any](responses=[])
    sampling = Sampling(config.temperature, max_new_tokens=config.max_new_tokens)
    remaining = loop.resume(None, numbers)
    yield StageStarted("comparisons", loop.steps, {"prompts": len(prompts), "held_out": len(held_out)})
    for step in remaining:
        began = time.perf_counter()
        chunk = chunks[step - 1]
        # The policy's own responses, since the reward model will score their kind in PPO. Labelers rank K = 4 to 9 of
        # them (Ouyang et al. 2022, section 3.5): C(K,2) pairs for little more reading than two.
        asked = [item.prompt for item in chunk for _ in range(item.responses)]
        episodes = draw_episodes(policy, tokenizer, asked, sampling, loop.seed, "comparisons/sampling", step)
        texts = iter(response_texts(episodes, tokenizer))
        numbers["responses"] += [[next(texts) for _ in range(item.responses)] for item in chunk]
        seconds = time.perf_counter() - began
        metrics = {
            "comparisons/responses": float(sum(map(len, numbers["responses"]))),
            "comparisons/response_tokens": float(episodes.response_mask.sum(1).float().mean()),
            "comparisons/finished": float(ended(episodes, tokenizer.eos_id).float().mean()),
            "comparisons/tokens_per_s": float(episodes.response_mask.sum()) / seconds,
            "comparisons/step_s": seconds,
        }
        yield StepCompleted("comparisons", step, metrics)
        if (yield from loop.end_step(step)):
            return
    rows, measured = ranked([item for chunk in chunks for item in chunk], numbers["responses"], config, loop.seed)
    about = loop.saver.describe(loop.steps, "all prompts", measured)
    write_directory(loop.saver.directory / "final", lambda folder: write_comparisons(folder, rows, about))
    yield from loop.saver.final_events()


def draws_in_chunks(
    prompts: Sequence[str], held_out: Sequence[str], config: ComparisonsConfig, seed: int
) -> list[list[PromptDraw]]:
    """Every prompt with its number of responses, cut into steps of at most `config.batch` responses."""
    rng = python_rng(seed, "comparisons/responses")
    chunks: list[list[PromptDraw]] = [[]]
    room = config.batch
    for prompt, held in [(prompt, False) for prompt in prompts] + [(prompt, True) for prompt in held_out]:
        item = PromptDraw(prompt, rng.randint(config.responses_min, config.responses_max), held)
        if item.responses > room and chunks[-1]:
            chunks.append([])
            room = config.batch
        chunks[-1].append(item)
        room -= item.responses
    return chunks


def ranked(
    asked: Sequence[PromptDraw], responses: Sequence[Sequence[str]], config: ComparisonsConfig, seed: int
) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """One row per prompt with its responses, ranking and the labelers' utilities, and the metrics of all rankings.

    Raises: ConfigError for an unknown persona, an agreement that these responses cannot give, or a margin that makes a
    tie of every pair.
    """
    persona = persona_named(config.persona)
    utilities = [
        [persona_utility(judge(item.prompt, text), persona) for text in texts]
        for item, texts in zip(asked, responses, strict=True)
    ]
    # A labeler ranks by utility plus Gumbel noise (Plackett-Luce). More noise, less agreement between two labelers:
    # the noise is solved for, so that they agree as often as InstructGPT's did.
    try:
        scale = solve_scale(utilities, config.agreement)
    except ValueError as error:
        raise ConfigError(f"comparisons.agreement = {config.agreement}: {error}") from error
    rows, twice = [], []
    # Each prompt has a random stream of its own: more prompts leave the earlier rankings as they are.
    for i, (item, texts, own) in enumerate(zip(asked, responses, utilities, strict=True)):
        ranking, other = (noisy_ranks(own, scale, python_rng(seed, who, i), config.tie_margin) for who in LABELERS)
        twice.append((ranking, other))
        rows.append(
            {
                "prompt": item.prompt,
                "responses": list(texts),
                "ranking": [place + 1 for place in ranking],
                "utilities": own,
                "held_out": item.held_out,
            }
        )
    measured = {"comparisons/scale": scale, "comparisons/agreement": measured_agreement(twice)}
    return rows, measured | measured_on(rows, scale, config.tie_margin)


def measured_on(rows: Sequence[dict[str, Any]], scale: float, tie_margin: float) -> dict[str, float]:
    """The highest accuracy that any reward model can reach on the untied pairs, the share of ties, and mean utility."""
    places = [pair for row in rows for pair in combinations(row["ranking"], 2)]
    # Labelers with noise contradict themselves: on a pair that they order one way with probability p, even the true
    # utilities are right only max(p, 1 - p) of the time. The mean of that is the ceiling.
    pairs = utility_differences(row["utilities"] for row in rows)
    untied = [pair for pair, (one, other) in zip(pairs, places, strict=True) if one != other]
    # A tie teaches nothing: Bradley-Terry has no probability for one, and the loss leaves those pairs out.
    own = [utility for row in rows for utility in row["utilities"]]
    if not untied:
        raise ConfigError(f"comparisons.tie_margin = {tie_margin} makes every pair a tie: lower it.")
    return {
        "comparisons/ceiling": accuracy_ceiling(untied, scale, tie_margin),
        "comparisons/tie_margin": tie_margin,
        "comparisons/ties": sum(a == b for a, b in places) / len(places),
        "comparisons/utility": sum(own) / len(own),
    }


def write_comparisons(folder: Path, rows: Sequence[dict[str, Any]], about: dict[str, Any]) -> None:
    """Writes the comparisons to train on, the held-out ones, and slmctl.json into `folder`."""
    for name, held in ((TRAIN_FILE, False), (HELD_OUT_FILE, True)):
        chosen = [row for row in rows if row["held_out"] == held]
        lines = [json.dumps({k: v for k, v in row.items() if k != "held_out"}, ensure_ascii=False) for row in chosen]
        (folder / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    write_json(folder / "slmctl.json", about)


def read_drawn(file: Path) -> tuple[list[Ranking], list[list[float]]]:
    """The rankings that `write_comparisons` wrote into `file`, and the labelers' utilities of their responses.

    Empty responses stay: the policy gave them and the labelers ranked them.
    """
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").split("\n") if line]
    rankings = [Ranking(row["prompt"], tuple(row["responses"]), tuple(row["ranking"])) for row in rows]
    return rankings, [row["utilities"] for row in rows]
