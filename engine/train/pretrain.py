"""The base model: next-token prediction on plain text and exchanges, with a loss on every token."""

import time
from collections.abc import Iterator, Sequence

from engine.core.config import PretrainConfig
from engine.core.events import EvalCompleted, Event, StageStarted, StepCompleted
from engine.data.records import TrainingRows
from engine.model.batching import EpochBatches, Example, collate
from engine.model.tokenizer import Tokenizer
from engine.model.transformer import LanguageModel, parameter_count
from engine.train.likelihood import bits_per_byte, text_bytes, token_losses, total_loss
from engine.train.optimizer import descend, optimizers_for
from engine.train.saver import StageLoop, Trained


def train_base(
    model: LanguageModel, tokenizer: Tokenizer, data: TrainingRows[Example], config: PretrainConfig, loop: StageLoop
) -> Iterator[Event]:
    """Trains `model` in place, from scratch or from the last saved state; yields the stage's events.

    Raises: DivergedError on a loss or gradient that is not finite.
    """
    device, optimizers = model.model.embed_tokens.weight.device, optimizers_for(model, config)
    numbers, metrics = {"tokens": 0}, dict[str, float]()
    remaining = loop.resume(Trained(model, tokenizer, optimizers), numbers)
    # Rows of like length share a batch, so that little of the token budget is spent on padding.
    lengths = [len(example.ids) for example in data.train]
    batches = EpochBatches(lengths, loop.seed, "pretrain/data", tokens=config.batch_tokens)
    about = {"rows": len(data.train), "validation": len(data.validation), "vocabulary": tokenizer.size}
    yield StageStarted("pretrain", loop.steps, {"parameters": parameter_count(model), **about})
    for step in remaining:
        began = time.perf_counter()
        batch = collate([data.train[i] for i in batches[step - 1]], tokenizer.pad_id, device)
        # Every token but a row's first is a target. An untrained model is near log V nats, a uniform guess.
        loss = token_losses(model, batch).mean()  # (N,) to a scalar: nats per token
        taken = descend(loss, "the pretraining loss", model, optimizers, config, step, loop.steps)
        numbers["tokens"] += int(batch.lengths.sum())
        own = taken | {"tokens": numbers["tokens"], "step_s": time.perf_counter() - began}
        yield StepCompleted("pretrain", step, {f"pretrain/{name}": value for name, value in own.items()})
        if step % config.eval_every == 0 or step == loop.steps:
            metrics = validation_metrics(model, tokenizer, data.validation) | {"pretrain/tokens": numbers["tokens"]}
            yield EvalCompleted("pretrain", step, metrics)
        if (yield from loop.end_step(step)):
            return
    yield from loop.saver.finish(loop.steps, metrics)


def validation_metrics(model: LanguageModel, tokenizer: Tokenizer, validation: Sequence[Example]) -> dict[str, float]:
    """Loss per token and bits per byte on held-out rows; no bits per byte if their tokens decode to no text.

    Bits per byte do not depend on how the tokenizer cuts text, so models of different vocabularies can be compared.
    """
    # Loss per token depends on the vocabulary: a larger one has fewer tokens that are harder to predict.
    nats, count = total_loss(model, validation, tokenizer.pad_id)
    metrics, size = {"pretrain/validation_loss": nats / count}, text_bytes(validation, tokenizer)
    return metrics | ({"pretrain/bits_per_byte": bits_per_byte(nats, size)} if size else {})
