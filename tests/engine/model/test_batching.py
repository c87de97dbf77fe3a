"""Rows into batches: which tokens have a loss, which rows share a batch, and that (seed, epoch) alone decides."""

from itertools import chain

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.data.records import Demonstration, Message
from engine.model.batching import (
    EpochBatches,
    Example,
    collate,
    demonstration_examples,
    pack_groups,
    right_pad,
    shared_prefix_length,
)
from engine.model.tokenizer import Tokenizer, train_tokenizer
from engine.train.likelihood import EVALUATION_ROWS, mean_loss, token_losses
from tests.support.tiny import language_model, scalar_model, word_tokenizer

CPU = torch.device("cpu")
TOLERANCE = 1e-5


def test_collate_by_hand() -> None:
    batch = collate([Example([5, 6, 7, 8], 2), Example([9, 4]), Example([3, 3, 3], 0)], 0, CPU)
    assert batch.tokens.tolist() == [[5, 6, 7, 8], [9, 4, 0, 0], [3, 3, 3, 0]]
    assert batch.lengths.tolist() == [4, 2, 3]
    assert batch.loss_mask.int().tolist() == [
        [0, 0, 1, 1],
        [0, 1, 0, 0],
        [0, 1, 1, 0],
    ]  # nothing precedes the first id


def test_right_pad() -> None:
    tokens, lengths = right_pad([[1], [2, 3]], 9, CPU)
    assert tokens.tolist() == [[1, 9], [2, 3]] and lengths.tolist() == [1, 2]


def test_demonstrations_train_on_responses_through_eos() -> None:
    rows = [
        Demonstration("red blue", "one"),
        Demonstration("red blue", "one two three"),  # 6 tokens with EOS
        Demonstration("why", "yes no yes"),  # just fits
    ]
    examples, too_long = demonstration_examples(rows, word_tokenizer(), context=5)
    assert examples == [Example([3, 4, 6, 1], 2), Example([11, 9, 10, 9, 1], 1)] and too_long == 1


TURNS = tuple(
    Message(role, text)
    for role, text in (("user", "red"), ("assistant", "one"), ("user", "blue"), ("assistant", "two"), ("user", "why"))
)
USER_ID, ASSISTANT_ID = 12, 13


def chat_tokenizer(template: str) -> Tokenizer:
    """Whole words with two more special tokens, and a chat template."""
    encoder = word_tokenizer().encoder
    encoder.add_special_tokens(["<user>", "<assistant>"])
    return Tokenizer(encoder, eos_id=1, pad_id=0, chat_template=template)


FAITHFUL = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% if m.role == 'assistant' %}<eos>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
U, A, E = USER_ID, ASSISTANT_ID, 1
RED, BLUE, ONE, TWO, YES, WHY = 3, 4, 6, 7, 9, 11


def test_a_conversation_is_one_row_with_loss_on_assistant_turns() -> None:
    row = Demonstration(TURNS, "yes", all_turns=True)
    (example,), too_long = demonstration_examples([row], chat_tokenizer(FAITHFUL), context=32)
    assert example.ids == [U, RED, A, ONE, E, U, BLUE, A, TWO, E, U, WHY, A, YES, E] and too_long == 0
    batch = collate([example, Example([U, RED, A, ONE, E], 3)], 0, CPU)
    assert batch.loss_mask[0].nonzero().flatten().tolist() == [3, 4, 8, 9, 13, 14]
    assert batch.loss_mask[1].nonzero().flatten().tolist() == [3, 4]
    assert (batch.tokens[0][batch.loss_mask[0]]).tolist() == [ONE, E, TWO, E, YES, E]


def test_only_the_last_turn_has_loss_if_the_rest_is_a_prompt() -> None:
    (example,), _ = demonstration_examples([Demonstration(TURNS, "yes")], chat_tokenizer(FAITHFUL), context=32)
    assert (example.loss_start, example.no_loss) == (13, ())


def test_a_template_that_rewrites_history_gets_a_row_a_turn() -> None:
    forgetful = FAITHFUL.replace("{{ m.content }}", "{% if m.role == 'user' %}{{ m.content }}{% endif %}")
    row = Demonstration(TURNS[:3], "two", all_turns=True)
    examples, _ = demonstration_examples([row], chat_tokenizer(forgetful), context=32)
    assert examples == [Example([U, RED, A, ONE, E], 3), Example([U, RED, A, E, U, BLUE, A, TWO, E], 7)]


def test_turns_that_are_too_long_are_counted() -> None:
    row = Demonstration(TURNS, "yes", all_turns=True)
    examples, too_long = demonstration_examples([row], chat_tokenizer(FAITHFUL), context=10)
    assert [example.ids[-2] for example in examples] == [TWO] and too_long == 1


def test_our_template_renders_history_as_it_was_generated() -> None:
    tokenizer = train_tokenizer(["red one blue two why yes no three"] * 3, 300)
    row = Demonstration(TURNS, "yes no", all_turns=True)
    (example,), _ = demonstration_examples([row], tokenizer, context=100)
    (reply,) = tokenizer.encode_responses(["one"])
    assert len(example.no_loss) == 2 and example.ids[example.loss_start :][: len(reply)] == reply


GROUPS = [[[3, 4, 5, 6], [3, 4, 7], [3, 4, 5, 6, 8]], [[5, 1], [6, 1]], [[4, 4], [4, 4, 4]], [[7, 8, 9]]]


def test_packing_by_hand() -> None:
    packed = pack_groups(GROUPS[:2], 0, CPU)
    assert packed.tokens.tolist() == [[3, 4, 5, 6, 7, 5, 6, 8], [5, 1, 6, 1, 0, 0, 0, 0]]
    assert packed.layout.positions.tolist() == [[0, 1, 2, 3, 2, 2, 3, 4], [0, 1, 0, 1, 0, 0, 0, 0]]
    assert packed.ends.tolist() == [3, 4, 7, 8 + 1, 8 + 3]
    assert packed.layout.allowed[0, 0].int().tolist() == [
        [1, 0, 0, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0, 0, 0],
        [1, 1, 1, 1, 0, 0, 0, 0],
        [1, 1, 0, 0, 1, 0, 0, 0],
        [1, 1, 0, 0, 0, 1, 0, 0],
        [1, 1, 0, 0, 0, 1, 1, 0],
        [1, 1, 0, 0, 0, 1, 1, 1],
    ]


@pytest.mark.parametrize(("rows", "shared"), [(GROUPS[0], 2), (GROUPS[1], 0), (GROUPS[2], 1), (GROUPS[3], 2)])
def test_each_row_keeps_a_last_token_of_its_own(rows: list[list[int]], shared: int) -> None:
    assert shared_prefix_length(rows) == shared


ROW = st.lists(st.integers(3, 5), min_size=1, max_size=6)


@settings(max_examples=40)
@given(groups=st.lists(st.lists(ROW, min_size=1, max_size=4), min_size=1, max_size=4))
def test_packed_rows_score_as_each_alone(groups: list[list[list[int]]]) -> None:
    model, packed = scalar_model(), pack_groups(groups, 0, CPU)
    with torch.no_grad():
        together = model.scores_at(packed.tokens, packed.layout, packed.ends)
        alone = [model(torch.tensor([row]))[0, -1].item() for rows in groups for row in rows]
    assert together.tolist() == pytest.approx(alone, abs=TOLERANCE)


@settings(max_examples=60)
@given(lengths=st.lists(st.integers(1, 30), min_size=1, max_size=80), rows=st.integers(1, 9), seed=st.integers(0, 99))
def test_each_epoch_sees_every_row_once(lengths: list[int], rows: int, seed: int) -> None:
    batches = EpochBatches(lengths, seed, "data", rows=rows)
    for epoch in range(2):
        count = len(batches)
        seen = [batches[epoch * count + i] for i in range(count)]
        assert sorted(chain(*seen)) == list(range(len(lengths)))
        assert max(map(len, seen)) <= rows and sum(len(batch) < rows for batch in seen) <= 1 + len(lengths) // (
            16 * rows
        )


@settings(max_examples=60)
@given(lengths=st.lists(st.integers(1, 30), min_size=1, max_size=80), tokens=st.integers(30, 200))
def test_a_batch_stays_within_its_tokens_including_padding(lengths: list[int], tokens: int) -> None:
    batches = EpochBatches(lengths, 0, "data", tokens=tokens)
    seen = [batches[i] for i in range(len(batches))]
    assert sorted(chain(*seen)) == list(range(len(lengths)))
    assert all(len(batch) * max(lengths[i] for i in batch) <= tokens for batch in seen)


def test_a_row_longer_than_the_batch_has_one_of_its_own() -> None:
    batches = EpochBatches([3, 50, 3], 0, "data", tokens=10)
    assert sorted(map(sorted, (batches[i] for i in range(len(batches))))) == [[0, 2], [1]]


def test_the_order_follows_from_seed_stream_and_epoch_alone() -> None:
    lengths = [1 + i % 7 for i in range(50)]

    def order(seed: int = 0, stream: str = "data", start: int = 0) -> list[list[int]]:
        batches = EpochBatches(lengths, seed, stream, rows=4)
        return [batches[step] for step in range(start, 26)]

    assert order() == order()
    assert order(start=20) == order()[20:]  # resumed in a later epoch
    assert order(seed=1) != order() != order(stream="other")
    assert order()[:13] != order()[13:]


def test_rows_of_similar_length_share_a_batch() -> None:
    lengths = [1, 30] * 32
    batches = EpochBatches(lengths, 0, "data", rows=4)
    assert all(len({lengths[i] for i in batches[step]}) == 1 for step in range(16))


@pytest.mark.parametrize(("rows", "tokens"), [(0, 0), (3, 5)])
def test_exactly_one_batch_size_is_given(rows: int, tokens: int) -> None:
    with pytest.raises(AssertionError, match=f"rows {rows}, tokens {tokens}"):
        EpochBatches([1], 0, "data", rows=rows, tokens=tokens)


# likelihood


EXAMPLES = [Example([3, 5, 7, 9, 1], 2), Example([4, 1], 1), Example([6, 6, 8, 1], 3)]


def slow_losses(example: Example) -> list[float]:
    model, losses = language_model(), []
    for t in range(example.loss_start, len(example.ids)):
        with torch.no_grad():
            logits = model.logits(model(torch.tensor([example.ids[:t]])))[0, -1]
        losses.append(float(logits.logsumexp(0) - logits[example.ids[t]]))
    return losses


def test_token_losses_against_slow_code() -> None:
    losses = token_losses(language_model(), collate(EXAMPLES, 0, CPU))
    assert losses.tolist() == pytest.approx(
        [loss for example in EXAMPLES for loss in slow_losses(example)], abs=TOLERANCE
    )
    assert losses.requires_grad


def test_mean_loss_is_a_mean_over_tokens_whatever_the_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    every = [loss for example in EXAMPLES for loss in slow_losses(example)]
    for rows in (1, 2, EVALUATION_ROWS):
        monkeypatch.setattr("engine.train.likelihood.EVALUATION_ROWS", rows)
        assert mean_loss(language_model(), EXAMPLES, 0) == pytest.approx(sum(every) / len(every), abs=TOLERANCE)
