"""Values as people type them: dashes for underscores, bare words for lists, and empty or senseless ones."""

from pathlib import Path

import pytest

from spavl.config import read_settings, read_table
from spavl.data.responses.pool import read_pool
from spavl.errors import ConfigError
from spavl.evaluation.config import EvaluationConfig
from spavl.pipeline.registry import BuildConfig
from tests.support.command_line import spavl_here


def told(folder: Path, *words: str) -> str:
    """The error of a command: one of the user's, with its place and what to do next."""
    done = spavl_here(folder, *words)
    assert done.returncode == 2, done.stderr
    assert "fault of spavl" not in done.stderr and "\n  where: " in done.stderr and "\n  next:  " in done.stderr
    return done.stderr


def read(kind: type[BuildConfig], text: str, file: Path, **options: str) -> BuildConfig:
    file.write_text(text)
    return read_settings(kind, read_table(str(file), kind), options, str(file))


def test_keys_of_a_file_may_have_dashes(tmp_path: Path) -> None:
    text = """
        [selection]
        held-out-leaves = ["a-b"]
        [training.loop]
        learning-rate = 5e-6
        [model-settings."hf/a-b"]
        max-tokens = 7
        chat-template-kwargs = { enable-thinking = false }
    """
    config = read(BuildConfig, text, tmp_path / "my.toml", **{"training.loop.warmup_steps": "3"})
    assert config.selection.held_out_leaves == ("a-b",)
    assert config.training is not None
    assert (config.training.loop.learning_rate, config.training.loop.warmup_steps) == (5e-6, 3)
    own = config.model_settings["hf/a-b"]
    assert own.max_tokens == 7 and own.chat_template_kwargs == {"enable-thinking": False}


def test_a_key_with_a_dash_wins_over_a_preset_and_loses_to_an_option(tmp_path: Path) -> None:
    (tmp_path / "my.toml").write_text("[training.loop]\nlearning-rate = -1\n")
    words = ("build", "my.toml", "--preset", "spa_vl_dpo", "--dry-run")
    assert "learning_rate: must be above 0 (got -1)" in told(tmp_path, *words)
    assert "(got -2)" in told(tmp_path, *words, "--training.loop.learning-rate", "-2")


def test_both_spellings_of_a_key_are_one_error(tmp_path: Path) -> None:
    (tmp_path / "my.toml").write_text("[selection]\nper-leaf = 3\nper_leaf = 4\n")
    said = told(tmp_path, "build", "my.toml")
    assert "per_leaf is set twice" in said and "where: my.toml" in said


def test_keys_of_a_pool_may_have_dashes(tmp_path: Path) -> None:
    file = tmp_path / "pool.toml"
    file.write_text('name = "mine"\n[[responder]]\nname = "a"\nmodel = "openai/a"\ntop-p = 0.5\nmax-tokens = 3\n')
    (responder,) = read_pool(str(file)).responder
    assert (responder.top_p, responder.max_tokens) == (0.5, 3)
    assert read_pool("modern_12").name == read_pool("modern-12").name


@pytest.mark.parametrize("text", ["weapon,bully", "weapon, bully", '["weapon", "bully"]'])
def test_a_list_may_be_typed_as_words(text: str) -> None:
    config = read_settings(BuildConfig, {}, {"selection.held_out_leaves": text}, "a test")
    assert config.selection.held_out_leaves == ("weapon", "bully")


def test_every_list_takes_several_values(tmp_path: Path) -> None:
    said = told(tmp_path, "demo", "--selection.held-out-leaves", "weapn", "bully", "--out", "run")
    assert "no such leaves" in said and "weapn" in said
    edges = read_settings(BuildConfig, {}, {"pairs.tier_edges": "0.1,0.2,0.3,0.4"}, "a test").pairs.tier_edges
    assert edges == (0.1, 0.2, 0.3, 0.4)
    assert read_settings(BuildConfig, {}, {"responses.without": "12"}, "a test").responses.without == ("12",)


def test_choices_may_have_dashes_or_underscores(tmp_path: Path) -> None:
    options = {"conditions": "real,first-word"}
    assert read_settings(EvaluationConfig, {}, options, "a test").conditions == ("real", "first_word")
    assert read_settings(EvaluationConfig, {"conditions": "first-word"}, {}, "a test").conditions == ("first_word",)
    assert spavl_here(tmp_path, "pool", "new", "--like", "modern_12", "pool.toml").returncode == 0
    assert spavl_here(tmp_path, "taxonomy", "show", "spa_vl").returncode == 0
    assert "ms_swift" not in told(tmp_path, "data", "export", "nothing", "--format", "ms_swift")


@pytest.mark.parametrize(
    "words",
    [
        ("data", "import", "", "--out", "x"),
        ("data", "export", "", "--format", "trl"),
        ("train", "dpo", "--model", "miniature/base", "--data", ""),
        ("train", "dpo", "--model", "", "--data", "x"),
        ("train", "merge", "x", "--out", ""),
        ("eval", "", "--suite", "core"),
        ("eval", "fixed/refuse", "a=", "--suite", "core"),
        ("eval", "fixed/refuse", "--suite", ""),
        ("build", ""),
        ("demo", "--out", " "),
        ("demo", "--questions.writer", ""),
        ("demo", "--taxonomy.file", ""),
        ("compare", "a", ""),
        ("new", ""),
    ],
)
def test_an_empty_value_is_refused(tmp_path: Path, words: tuple[str, ...]) -> None:
    told(tmp_path, *words)
    assert not list(tmp_path.iterdir())


def test_a_setting_that_may_be_empty_may_be_typed_so() -> None:
    options = {"captions.writer": "", "selection.removals": ""}
    assert read_settings(BuildConfig, {}, options, "a test").captions.writer == ""


@pytest.mark.parametrize(
    ("words", "most"),
    [
        (("demo", "--seed", "9" * 22), 2**32 - 1),
        (("miniature", "--out", "x", "--seed", "9" * 22), 2**32 - 1),
        (("eval", "fixed/refuse", "--suite", "core", "--samples", "9" * 23), 1000),
        (("eval", "fixed/refuse", "--suite", "core", "--max-tokens", "9" * 23), 1_000_000),
        (("demo", "--training.epochs", "10000000000000000000"), 10_000),
        (("demo", "--selection.per-leaf", "9" * 23), 2**32 - 1),
    ],
)
def test_numbers_have_a_largest_value(tmp_path: Path, words: tuple[str, ...], most: int) -> None:
    assert str(most) in told(tmp_path, *words)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("demo", "--responses.models", "[]"), "must have at least 1 value, not 0"),
        (("demo", "--responses.temperature", "nan"), "must be a finite number"),
        (("demo", "--responses.temperature", "3"), "must be at most 2"),
        (("demo", "--dataset.drop-unsafe-chosen", "perhaps"), "must be true or false"),
        (("build", "."), "it is a folder"),
        (("build", "bytes"), "it is no text in UTF-8"),
        (("eval", "--config", "."), "it is a folder"),
        (("taxonomy", "show", "."), "it is a folder"),
        (("pool", "show", "."), "it is a folder"),
        (("pool", "show", "bytes"), "it is no text in UTF-8"),
    ],
)
def test_what_is_wrong_is_said_in_our_own_words(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\xff")
    text = told(tmp_path, *words)
    assert said in text
    assert not any(raw in text for raw in ("input should", "Errno", "codec", "tuple"))


@pytest.mark.parametrize(
    ("words", "place", "then"),
    [
        (("trane",), "spavl", "did you mean spavl train?"),
        (("evaluate",), "spavl", "did you mean spavl eval?"),
        (("train-dpo",), "spavl", "did you mean spavl train dpo?"),
        (("data", "imprt"), "spavl", "did you mean spavl data import?"),
        (
            ("train", "dpo", "--model", "miniature/bse", "--data", "x"),
            "training.model = 'miniature/bse'",
            "did you mean miniature/base?",
        ),
        (
            ("train", "dpo", "--model", "miniature/careful", "--data", "x"),
            "training.model = 'miniature/careful'",
            "use hf/PATH, miniature/base or miniature/qwen",
        ),
        (("eval", "fixed/refus"), "models = 'fixed/refus'", "did you mean fixed/refuse?"),
        (("eval", "hf/"), "models = 'hf/'", "use openai/NAME"),
        (
            ("eval", "fixed/refuse", "--guard", "keywords/gcg1"),
            "guard = 'keywords/gcg1'",
            "did you mean keywords/gcg@2",
        ),
        (
            ("eval", "fixed/refuse", "--guard", "miniature/rules"),
            "guard = 'miniature/rules'",
            "did you mean rules/miniature?",
        ),
        (("train", "dpo", "--lr", "1"), "spavl train dpo", "did you mean --learning-rate?"),
        (("train", "dpo", "--training.dpo.bta", "1"), "spavl train dpo", "did you mean --beta?"),
    ],
)
def test_the_place_and_the_name_that_was_meant_are_told(
    tmp_path: Path, words: tuple[str, ...], place: str, then: str
) -> None:
    said = told(tmp_path, *words)
    assert f"where: {place}\n" in said and f"next:  {then}" in said


def test_help_is_a_command_too(tmp_path: Path) -> None:
    for words, usage in ((("help",), "COMMAND"), (("help", "train", "dpo"), "train dpo"), (("pool", "help"), "pool")):
        done = spavl_here(tmp_path, *words)
        assert done.returncode == 0 and done.stdout.startswith("usage: spavl ") and usage in done.stdout


def test_a_file_whose_name_begins_with_a_dash_is_told_as_it_can_be_typed(tmp_path: Path) -> None:
    assert "spavl build ./-x.toml --dry-run" in spavl_here(tmp_path, "new", "--", "-x.toml").stdout


def test_two_budgets_that_differ_are_an_error(tmp_path: Path) -> None:
    assert "differ" in told(tmp_path, "demo", "--budget", "5", "--budget-usd", "6")


def test_a_name_made_of_digits_is_a_text() -> None:
    assert read_settings(BuildConfig, {}, {"sourcing.source": "2024"}, "a test").sourcing.source == "2024"
    with pytest.raises(ConfigError):
        read_settings(BuildConfig, {"sourcing": {"source": 2024}}, {}, "a test")
