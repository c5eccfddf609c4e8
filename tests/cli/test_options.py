"""Options are the settings: by their names in the file, without the prefix of the own section, dashed or not."""

import argparse
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from spavl.cli.commands import eval, train
from spavl.cli.main import commands
from spavl.cli.parser import CommandParser
from spavl.config import options, read_settings
from spavl.errors import ConfigError
from spavl.evaluation.config import EvaluationConfig
from spavl.pipeline.registry import BuildConfig

ALL = {command.name: command for command in commands()}
NAMES = [option.name for option in options(BuildConfig)]
TRAIN = ("--model", "miniature/base", "--data", "set")


@cache
def parser_of(name: str) -> CommandParser:
    return ALL[name].parser()


def read(name: str, *words: str) -> argparse.Namespace:
    return parser_of(name).read(words)


def typed(name: str, *words: str) -> dict[str, str]:
    settings: dict[str, str] = read(name, *words).settings
    return settings


@pytest.mark.parametrize("name", NAMES)
def test_every_setting_of_a_build_is_an_option_with_dashes_and_with_underscores(name: str) -> None:
    for spelled in (name, name.replace("_", "-")):
        for command, file in (("build", ("my.toml",)), ("demo", ())):
            assert typed(command, *file, f"--{spelled}", "1") == {name: "1"}
            assert typed(command, *file, f"--{spelled}=1") == {name: "1"}


@given(st.data())
def test_dashes_and_underscores_may_be_mixed(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(NAMES))
    spelled = "".join(data.draw(st.sampled_from("-_")) if sign == "_" else sign for sign in name)
    assert typed("build", "my.toml", f"--{spelled}", "1") == {name: "1"}


def test_settings_of_the_own_objective_need_no_prefix() -> None:
    words = ("--learning-rate", "5e-6", "--beta", "0.2", "--batch-size", "4", "--lora_rank", "16", "--every=7")
    options_ = read("train dpo", *TRAIN, *words)
    assert options_.settings == {
        "training.loop.learning_rate": "5e-6",
        "training.dpo.beta": "0.2",
        "training.batch_size": "4",
        "training.trainable.lora_rank": "16",
        "training.validation.every": "7",
    }
    config = train._config("dpo", options_)
    assert config.training is not None
    assert (config.training.loop.learning_rate, config.training.dpo.beta) == (5e-6, 0.2)
    assert (config.training.batch_size, config.training.trainable.lora_rank) == (4, 16)


@pytest.mark.parametrize("option", ["--beta", "--dpo.beta", "--training.dpo.beta"])
def test_a_setting_may_be_typed_by_any_of_its_names(option: str) -> None:
    assert typed("train dpo", *TRAIN, option, "0.3") == {"training.dpo.beta": "0.3"}


def test_an_option_that_is_typed_twice_has_one_value() -> None:
    for words in (("--beta", "0.3", "--training.dpo.beta=0.4"), ("--out", "a", "--out", "b")):
        with pytest.raises(ConfigError, match="is given twice"):
            typed("train dpo", *TRAIN, *words)
    assert typed("train dpo", *TRAIN, "--beta", "0.3", "--dpo.beta", "0.3") == {"training.dpo.beta": "0.3"}


@pytest.mark.parametrize("name", sorted(ALL))
def test_the_usage_line_names_every_argument_and_option_that_is_required(name: str) -> None:
    parser = ALL[name].parser()
    for action in parser._actions:
        if action.required:
            assert (action.option_strings or [str(action.metavar)])[0] in ALL[name].takes.split()


def test_a_reward_model_has_a_loop_of_its_own() -> None:
    words = ("--learning-rate", "1e-5", "--epochs", "2", "--margin", "1")
    assert typed("train reward", *TRAIN, *words) == {
        "training.reward.loop.learning_rate": "1e-5",
        "training.reward.epochs": "2",
        "training.reward.margin": "1",
    }


def test_before_ppo_a_reward_model_keeps_its_prefix() -> None:
    words = ("--learning-rate", "1e-6", "--reward.loop.learning-rate", "1e-5", "--kl-coef", "0.2", "--reward", "x/y")
    assert typed("train ppo", *TRAIN, *words) == {
        "training.loop.learning_rate": "1e-6",
        "training.reward.loop.learning_rate": "1e-5",
        "training.ppo.kl_coef": "0.2",
        "training.ppo.reward": "x/y",
    }


def test_settings_of_another_objective_are_unknown() -> None:
    others = (
        ("train sft", "--beta", "train dpo"),
        ("train dpo", "--kl-coef", "train ppo"),
        ("train reward", "--ppo.kl-coef", "train ppo"),
    )
    for command, option, other in others:
        with pytest.raises(ConfigError, match="unknown option") as told:
            typed(command, *TRAIN, option, "1")
        assert told.value.then == f"it is an option of spavl {other}"


@pytest.mark.parametrize("name", sorted(ALL))
def test_a_short_name_of_two_settings_names_both(name: str) -> None:
    """Whatever is typed means one setting, or is refused with names of which each means one."""
    parser = ALL[name].parser()
    for alias, meant in parser._aliases.items():
        assert all(parser.has_option(option) for option in meant)
        if len(meant) > 1:
            with pytest.raises(ConfigError) as told:
                parser.read([alias, "1"])
            assert all(option in told.value.then for option in meant)


def test_a_short_name_means_the_setting_of_the_commands_own_objective() -> None:
    assert typed("train ppo", *TRAIN, "--max_tokens", "9") == {"training.ppo.max_tokens": "9"}
    assert typed("train ppo", *TRAIN, "--validation.max-tokens", "9") == {"training.validation.max_tokens": "9"}
    assert typed("train ppo", *TRAIN, "--ppo.max_tokens", "9") == {"training.ppo.max_tokens": "9"}
    assert typed("train dpo", *TRAIN, "--max_tokens", "9") == {"training.validation.max_tokens": "9"}


def test_an_evaluation_takes_several_values_with_blanks_or_commas_between_them() -> None:
    words = (
        "a=fixed/refuse",
        "fixed/comply",
        "--suite",
        "core",
        "mm-safetybench",
        "--guard",
        "openai/y,openai/w",
        "--limit",
        "3",
    )
    options_ = read("eval", *words, "--train", "runs/demo", "--in_flight", "2", "--servers.pace.at-once", "4")
    config = eval._config_of(options_)
    assert config.models == ("a=fixed/refuse", "fixed/comply")
    assert config.suite == ("core", "mm-safetybench") and config.guard == ("openai/y", "openai/w") and config.limit == 3
    assert config.contamination.train == "runs/demo"
    assert config.servers.in_flight == 2 and config.servers.pace.at_once == 4


def test_options_win_over_the_file_of_an_evaluation(tmp_path: Path) -> None:
    file = tmp_path / "my.toml"
    file.write_text('models = ["fixed/refuse"]\nlimit = 2\nseed = 5\n')
    config = eval._config_of(read("eval", "--config", str(file), "--limit", "3"))
    assert (config.models, config.limit, config.seed) == (("fixed/refuse",), 3, 5)


@pytest.mark.parametrize(
    ("text", "sum_"), [("50usd", "50"), ("12.50 USD", "12.50"), ("$3", "3"), ("7", "7"), (" 8 $ ", "8")]
)
def test_a_budget_is_typed_as_people_write_sums(text: str, sum_: str) -> None:
    assert read("build", "my.toml", "--budget", text).budget == sum_


def test_a_value_may_begin_with_a_dash_or_hold_anything() -> None:
    assert typed("build", "my.toml", "--training.dpo.beta", "-1") == {"training.dpo.beta": "-1"}
    assert typed("build", "my.toml", "--sourcing.source=--odd_name") == {"sourcing.source": "--odd_name"}
    assert typed("build", "my.toml", "--prices", '{ "a_b" = [1, 2] }') == {"prices": '{ "a_b" = [1, 2] }'}
    assert read("build", "--", "--my_settings.toml").file == "--my_settings.toml"


@pytest.mark.parametrize(
    ("kind", "name", "own"), [(BuildConfig, "build", ()), (EvaluationConfig, "eval", ("models", "budget_usd"))]
)
def test_help_tells_of_every_setting_what_it_is_and_its_default(
    kind: type[BaseModel], name: str, own: tuple[str, ...]
) -> None:
    parser = ALL[name].parser()
    told = {action.dest: str(action.help).replace("%%", "%") for action in parser._actions}
    for option in options(kind):
        if option.name not in own:
            assert told[option.name].startswith(option.help)
            assert option.default is None or told[option.name].endswith(f"(default: {option.default_text})")
    titles = {f"[{option.name.rpartition('.')[0]}]" for option in options(kind) if "." in option.name}
    assert titles <= {group.title for group in parser._action_groups}
    assert all(f"\n{title}:\n" in parser.format_help() for title in titles)


def test_the_help_of_a_training_shows_the_shortest_names() -> None:
    text = ALL["train dpo"].parser().format_help()
    assert "\n  --beta VALUE " in text and "[training.dpo]:" in text
    assert "--training.dpo.beta" not in text


def test_a_demo_lists_its_own_options_alone_and_takes_all() -> None:
    text = ALL["demo"].parser().format_help()
    assert "--selection.per-leaf" not in text and "spavl build --help" in text
    assert typed("demo", "--selection.per-leaf", "3") == {"selection.per_leaf": "3"}


def test_settings_typed_at_their_defaults_change_nothing() -> None:
    words = [
        word
        for option in options(BuildConfig)
        if option.default is not None and "training" not in option.name and "evaluation" not in option.name
        for word in (f"--{option.name}", option.default_text)
    ]
    assert read_settings(BuildConfig, {}, typed("build", "my.toml", *words), "a test") == BuildConfig()
