"""What each stage works from."""

from engine.core.config import Config
from engine.run.pipeline import INPUTS, SECTIONS, changed_settings, dependents, needs, required
from engine.rundir.directory import STAGES


def test_the_whole_run_is_every_stage_in_order() -> None:
    assert required("run", {}) == STAGES


def test_a_stage_brings_its_parents() -> None:
    assert required("pretrain", {}) == ("pretrain",)
    assert required("sft", {}) == ("pretrain", "sft")
    assert required("rm", {}) == ("pretrain", "sft", "comparisons", "rm")
    assert required("ppo", {}) == ("pretrain", "sft", "comparisons", "rm", "ppo")


def test_what_a_person_hands_over_need_not_be_made() -> None:
    assert required("sft", {"sft": {"init": "x"}}) == ("sft",)
    assert required("rm", {"rm": {"data": "x"}}) == ("pretrain", "sft", "rm")
    assert required("rm", {"rm": {"data": "x", "init": "y"}}) == ("rm",)
    assert required("ppo", {"ppo": {"reward": "x"}}) == ("pretrain", "sft", "ppo")
    assert needs("ppo", {"ppo": {"reward": "x", "init": "y"}}) == ()


def test_the_evaluation_sees_what_the_other_stages_saw() -> None:
    assert needs("eval", {}) == ("pretrain", "sft", "rm", "ppo")
    assert required("run", {"ppo": {"reward": "x"}}) == ("pretrain", "sft", "ppo", "eval")
    assert required("run", {"sft": {"init": "x"}, "rm": {"data": "y"}}) == ("sft", "rm", "ppo", "eval")
    assert required("run", {"ppo": {"init": "x", "reward": "y"}}) == ("pretrain", "ppo", "eval")


def test_what_builds_on_a_stage() -> None:
    assert dependents("pretrain") == STAGES[1:]
    assert dependents("rm") == ("ppo", "eval")
    assert dependents("eval") == ()


def test_every_section_matters_to_some_stage() -> None:
    sections = {name for names in SECTIONS.values() for name in names}
    top = {"seed", "threads", "device", "dtype", "template", "max_steps"}
    assert sections | top == set(Config.model_fields)
    assert set(INPUTS) <= set(STAGES) == set(SECTIONS)


def test_differences_name_the_stages_they_matter_to() -> None:
    old = Config()
    new = Config.model_validate(
        {"seed": 4, "ppo": {"kl_coef": 0.2}, "model": {"layers": 2}, "world": {"name": "pocket"}}
    )
    found = {change.name: (change.old, change.new, change.stages) for change in changed_settings(old, new)}
    assert found == {
        "seed": (0, 4, STAGES),
        "world.name": ("", "pocket", STAGES),
        "model.layers": (4, 2, ("pretrain",)),
        "ppo.kl_coef": (0.05, 0.2, ("ppo",)),
    }
