"""What held-out text costs: bits a byte by hand, exact bytes, memory that a large vocabulary cannot burst."""

from math import log, log2

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from engine.algorithms.losses import cross_entropy
from engine.core.config import ModelConfig
from engine.core.metrics import describe
from engine.model.batching import Example
from engine.model.tokenizer import SPACE, train_tokenizer
from engine.model.transformer import LanguageModel
from engine.pocket.training_data import Document
from engine.run.sources import examples_of
from engine.run.stages import architecture_of
from engine.train.likelihood import bits_per_byte, mean_loss, text_bytes, total_loss
from engine.train.pretrain import validation_metrics
from tests.support.tiny import language_model, word_tokenizer

BYTES = train_tokenizer([], 300)  # no merges: PAD, EOS, <|user|>, <|assistant|> and one token a byte
MERGED = train_tokenizer(["the cat and the dog 😀😀 äh"] * 9, 300)
TOLERANCE = 1e-6
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def uniform_model(vocabulary: int) -> LanguageModel:
    """A model that finds every token equally likely."""
    model = LanguageModel(architecture_of(ModelConfig(width=8, layers=1, heads=2, kv_heads=1, ffn=8), vocabulary))
    for parameter in model.parameters():
        torch.nn.init.zeros_(parameter)
    return model


def rows_of(*pieces: Document, context: int = 64) -> list[Example]:
    return examples_of(pieces, BYTES, context)


@pytest.mark.parametrize(
    ("pieces", "targets", "spelled"),
    [
        ((Document("text", text="äb"), Document("text", text="c")), 4 + 2, 3 + 1),  # the space before is not predicted
        ((Document("exchange", "a", "bc"), Document("text", text="d e")), 7 + 4, 3 + 3),
        ((Document("text", text="\N{GRINNING FACE}"), Document("exchange", "", "f")), 5 + 4, 4 + 1),
    ],
)
def test_bits_a_byte_of_a_model_that_knows_nothing(pieces: tuple[Document, ...], targets: int, spelled: int) -> None:
    rows = rows_of(*pieces)
    assert BYTES.size == 260 and text_bytes(rows, BYTES) == spelled
    metrics = validation_metrics(uniform_model(260), BYTES, rows)
    assert metrics["pretrain/validation_loss"] == pytest.approx(log(260), rel=TOLERANCE)
    assert metrics["pretrain/bits_per_byte"] == pytest.approx(targets * log2(260) / spelled, rel=TOLERANCE)


def test_a_text_cut_into_rows_loses_the_first_byte_of_each() -> None:
    rows = rows_of(Document("text", text="abcdefghijkl"), context=8)  # the space and a to g; h to l and EOS
    assert [len(row.ids) for row in rows] == [8, 6]
    assert [text_bytes([row], BYTES) for row in rows] == [7, 4]
    nats, count = total_loss(uniform_model(260), rows, 0)
    assert count == 7 + 5
    assert nats == pytest.approx(12 * log(260), rel=TOLERANCE)
    assert bits_per_byte(nats, 11) == pytest.approx(12 * log2(260) / 11, rel=TOLERANCE)


@given(TEXT, TEXT)
def test_the_bytes_of_an_exchange_are_those_of_its_texts(prompt: str, response: str) -> None:
    assume("<|" not in prompt)  # a special token's name in a prompt is that token
    row = Example([*MERGED.encode_prompt(prompt), *MERGED.encode_responses([response])[0]])
    swallowed = prompt.startswith(" ") + response.startswith(" ")  # one that stands there already is as good as added
    assert text_bytes([row], MERGED) == len(prompt.encode()) + len(response.encode()) - swallowed


def test_merged_tokens_count_all_their_bytes() -> None:
    ids = MERGED.encode_text("the cat")
    assert [MERGED.encoder.id_to_token(i) for i in ids] == [SPACE + "the", SPACE + "cat"]
    assert text_bytes([Example(ids)], MERGED) == 4
    assert text_bytes([Example([MERGED.eos_id, *ids]), Example(ids, 0)], MERGED) == 3 + 4 + 4


def test_text_of_which_nothing_is_predicted_has_no_bits_a_byte() -> None:
    rows = [Example([7, BYTES.eos_id])]
    assert set(validation_metrics(uniform_model(260), BYTES, rows)) == {"pretrain/validation_loss"}


def test_a_large_vocabulary_is_read_in_smaller_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    examples = [Example([3 + i % 9] * (2 + i % 7)) for i in range(30)]
    model, sizes = language_model(), []

    def counted(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        sizes.append(logits.numel())
        return cross_entropy(logits, targets)

    monkeypatch.setattr("engine.train.likelihood.cross_entropy", counted)
    whole = mean_loss(model, examples, 0)
    assert len(sizes) == 1
    most = 20 * word_tokenizer().size
    monkeypatch.setattr("engine.train.likelihood.LOGITS_AT_ONCE", most)
    assert mean_loss(model, examples, 0) == pytest.approx(whole, rel=TOLERANCE)
    assert max(sizes[1:]) <= most and len(sizes) > 5


def test_the_formula_says_which_tokens_spell_nothing() -> None:
    metric = describe("pretrain/bits_per_byte")
    assert metric.unit == "bits/byte" and "EOS" in metric.formula and "not predicted" in metric.formula
