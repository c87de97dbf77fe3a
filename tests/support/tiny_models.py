"""A run of tiny models with random weights."""

from pathlib import Path

from engine.model.checkpoint import save_model
from engine.model.heads import ScalarModel
from engine.model.sampling import generator
from engine.model.tokenizer import train_tokenizer
from engine.model.transformer import Architecture, LanguageModel, initialize
from engine.rundir.directory import RunDir, write_text

PROMPT = "What is the capital of France?"


def make_models(home: Path) -> RunDir:
    """A run with policies sft and ppo and a reward model rm, of two layers each."""
    tokenizer = train_tokenizer([PROMPT, "The capital of France is Paris.", "Hello, how are you?"] * 5, 300)
    sizes = Architecture(tokenizer.size, width=16, layers=2, heads=2, kv_heads=1, head_width=8, ffn=32, context=64)
    run = RunDir(home / "tiny")
    write_text(run.run_toml, "schema = 2\n")
    models: dict[str, LanguageModel | ScalarModel] = {
        "sft": LanguageModel(sizes),
        "ppo": LanguageModel(sizes),
        "rm": ScalarModel(sizes, bias=0.25),
    }
    for stage, model in models.items():
        initialize(model, generator(0, stage))
        save_model(run.final(stage), model, tokenizer, {"stage": stage})
    return run
