"""The base model: next-token prediction on plain text and exchanges, every token a target."""

import time
from collections.abc import Callable, Iterator, Sequence

from engine.core.config import PretrainConfig
from engine.core.events import EvalCompleted, Event, StageStarted, StepCompleted
from engine.model.batching import EpochBatches, Example, collate
from engine.model.tokenizer import Tokenizer
from engine.model.transformer import LanguageModel, parameter_count
from engine.train.likelihood import bits_per_byte, text_bytes, token_losses, total_loss
from engine.train.optimizer import apply_gradients, check_finite, optimisers, schedule
from engine.train.saver import Saver


def train_base(
    model: LanguageModel,
    tokenizer: Tokenizer,
    examples: Sequence[Example],
    validation: Sequence[Example],
    config: PretrainConfig,
    *,
    seed: int,
    steps: int,
    saver: Saver,
    should_stop: Callable[[], bool],
) -> Iterator[Event]:
    """Train `model` in place from scratch or from the saver's last state; yields the stage's events.

    Raises: DivergedError on a loss or gradient that is not finite.
    """
    c, device = config, model.model.embed_tokens.weight.device
    optimizers = optimisers(model, c)
    saver.model, saver.tokenizer, saver.optimizers, saver.steps = model, tokenizer, optimizers, steps
    start = saver.resume()
    batches = EpochBatches([len(example.ids) for example in examples], seed, "pretrain/data", tokens=c.batch_tokens)
    yield StageStarted("pretrain", steps, described(model, tokenizer, examples, validation))
    measured: dict[str, float] = {}
    for step in range(start + 1, steps + 1):
        began = time.perf_counter()
        batch = collate([examples[i] for i in batches[step - 1]], tokenizer.pad_id, device)
        loss = token_losses(model, batch).mean()
        check_finite(loss, "the pretraining loss", step)
        loss.backward()
        share = schedule(step, steps, c.warmup_steps, c.min_lr_ratio)
        norm = apply_gradients(optimizers, model.parameters(), share, c.max_grad_norm, step)
        tokens = float(batch.lengths.sum())
        saver.numbers["tokens"] = saver.numbers.get("tokens", 0) + int(tokens)
        yield StepCompleted(
            "pretrain",
            step,
            {
                "pretrain/loss": loss.item(),
                "pretrain/lr": c.lr * share,
                "pretrain/grad_norm": norm,
                "pretrain/tokens": saver.numbers["tokens"],
                "pretrain/step_s": time.perf_counter() - began,
            },
        )
        if step % c.eval_every == 0 or step == steps:
            measured = held_out(model, tokenizer, validation) | {"pretrain/tokens": saver.numbers["tokens"]}
            yield EvalCompleted("pretrain", step, measured)
        stop = should_stop()
        if step < steps and (stop or saver.due(step)):
            yield from saver.save(step)
            if stop:
                return
    yield from saver.finish(steps, measured)


def described(
    model: LanguageModel, tokenizer: Tokenizer, examples: Sequence[Example], validation: Sequence[Example]
) -> dict[str, int]:
    """What a person may want to know first; the vocabulary is the embedding table's size."""
    return {
        "parameters": parameter_count(model),
        "rows": len(examples),
        "validation": len(validation),
        "vocabulary": tokenizer.size,
    }


def held_out(model: LanguageModel, tokenizer: Tokenizer, validation: Sequence[Example]) -> dict[str, float]:
    """Loss a token and bits a byte on the held-out rows; the second is left out where their tokens spell no text."""
    nats, count = total_loss(model, validation, tokenizer.pad_id)
    metrics, spelled = {"pretrain/validation_loss": nats / count}, text_bytes(validation, tokenizer)
    return metrics | ({"pretrain/bits_per_byte": bits_per_byte(nats, spelled)} if spelled else {})
