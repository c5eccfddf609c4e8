"""A model has one name, however it is typed; names that are URIs already stay as they are."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spavl.config import read_settings
from spavl.errors import ConfigError
from spavl.evaluation.config import EvaluationConfig, resolve_evaluation_config
from spavl.evaluation.model_names import models_by_name, name_among
from spavl.judges.registry import FORMS, guard_uri
from spavl.models.uri import model_uri
from spavl.pipeline.registry import BuildConfig
from spavl.training.config import rewarder_uri

# As they stand in ledgers and settings of runs that were made before.
WORK_TODAY = (
    "openai/gpt-4o",
    "openai/Qwen/Qwen2.5-VL-7B-Instruct@http://127.0.0.1:8000/v1",
    "openai/x@http://a/v1,http://b/v1",
    "openai/x#b@http://a/v1",
    "openai/molmo@",
    "hf/llava-hf/llava-1.5-7b-hf",
    "hf/llava-hf/llava-1.5-7b-hf@abc123",
    "hf/runs/demo/checkpoints/aligned",
    "hf/./here",
    "hf//far/away",
    "miniature/base",
    "fixed/refuse",
)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two runs, of which the second has a reward model alone; a third without a checkpoint; and a model's folder."""
    monkeypatch.chdir(tmp_path)
    for run, checkpoints in (("one", ("aligned", "reward")), ("two", ("reward",)), ("three", ())):
        (tmp_path / "runs" / run).mkdir(parents=True)
        (tmp_path / "runs" / run / "run.json").write_text("{}")
        for name in checkpoints:
            (tmp_path / "runs" / run / "checkpoints" / name).mkdir(parents=True)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.json").write_text("{}")
    return tmp_path


@pytest.mark.parametrize("name", WORK_TODAY)
def test_a_uri_stays_as_it_is(home: Path, name: str) -> None:
    assert model_uri(name) == name
    assert guard_uri(name) == rewarder_uri(name) == name
    for form in FORMS:
        assert guard_uri(f"{form}/{name}") == f"{form}/{name}"
    assert guard_uri(f"criterion/legal/{name}") == f"criterion/legal/{name}"
    assert guard_uri(f"prompt/my/own.txt/{name}") == f"prompt/my/own.txt/{name}"
    assert rewarder_uri(f"judge/{name}") == f"judge/{name}"
    config = read_settings(EvaluationConfig, {"models": (name, f"a={name}"), "guard": (name,)}, {}, "a test")
    assert config.models == (name, f"a={name}") and config.guard == (name,)


@pytest.mark.parametrize("name", ["", "rules/miniature", "keywords/gcg@2", "reward/some/folder"])
def test_what_is_no_model_stays_as_it_is(home: Path, name: str) -> None:
    assert rewarder_uri(name) == name
    if not name.startswith("reward/"):
        assert guard_uri(name) == name


@given(st.sampled_from(("hf", "openai")), st.text(min_size=1, max_size=30))
def test_whatever_stands_behind_a_kind_is_left_alone(kind: str, rest: str) -> None:
    assert model_uri(f"{kind}/{rest}") == f"{kind}/{rest}"


@pytest.mark.parametrize(
    ("name", "uri"),
    [
        ("llava-hf/llava-1.5-7b-hf", "hf/llava-hf/llava-1.5-7b-hf"),
        ("llava-hf/llava-1.5-7b-hf@abc123", "hf/llava-hf/llava-1.5-7b-hf@abc123"),
        ("mine", "hf/mine"),
        ("./mine", "hf/./mine"),
        ("{home}/mine", "hf/{home}/mine"),
        ("runs/one", "hf/runs/one/checkpoints/aligned"),
        ("runs/one/", "hf/runs/one/checkpoints/aligned"),
        ("hf/runs/one", "hf/runs/one/checkpoints/aligned"),
        ("runs/two", "hf/runs/two/checkpoints/reward"),
        ("runs/one/checkpoints/aligned", "hf/runs/one/checkpoints/aligned"),
    ],
)
def test_a_path_a_hub_id_and_a_run_are_models(home: Path, name: str, uri: str) -> None:
    typed, own = (text.replace("{home}", str(home)) for text in (name, uri))
    assert model_uri(typed) == own
    assert model_uri(own) == own, "the name of a name is itself"
    assert guard_uri(f"llama-guard-3/{typed}") == f"llama-guard-3/{own}"
    assert guard_uri(f"criterion/legal/{typed}") == f"criterion/legal/{own}"
    assert guard_uri(f"prompt/p.txt/{typed}") == f"prompt/p.txt/{own}"
    table = {
        "questions": {"writer": typed, "checker": typed},
        "responses": {"models": [typed, "fixed/refuse"]},
        "verdicts": {"guard": typed},
        "preferences": {"judge": typed, "second_judge": typed},
        "training": {"model": typed, "validation": {"guard": typed}, "ppo": {"sampler": typed}},
        "evaluation": {"before": typed, "after": typed, "guard": f"md-judge/{typed}", "judge": typed},
    }
    config = read_settings(BuildConfig, table, {}, "a test")
    assert config.training is not None and config.evaluation is not None
    names = [config.questions.writer, config.questions.checker, config.responses.models[0], config.verdicts.guard]
    names += [config.preferences.judge, config.preferences.second_judge, config.training.model]
    names += [config.training.validation.guard, config.training.ppo.sampler]
    names += [config.evaluation.before, config.evaluation.after, config.evaluation.judge]
    assert set(names) == {own} and config.evaluation.guard == f"md-judge/{own}"


def test_whoever_rewards_may_be_a_run_with_a_reward_model(home: Path) -> None:
    for name in ("runs/one", "reward/runs/one", "reward/runs/one/checkpoints/reward"):
        assert rewarder_uri(name) == "reward/runs/one/checkpoints/reward"
    assert rewarder_uri("judge/mine") == "judge/hf/mine"
    assert rewarder_uri("llama-guard-3/mine") == "llama-guard-3/hf/mine"


@pytest.mark.parametrize(
    ("name", "what", "then"),
    [
        ("openia/slip", "no such kind of model: 'openia/slip'", "did you mean openai/slip? a model of the hub is hf/"),
        ("opnai/x@http://127.0.0.1:1/v1", "no such kind of model", "did you mean openai/x@http://127.0.0.1:1/v1"),
        ("minature/base", "no such kind of model", "did you mean miniature/base"),
        ("gpt-4o", "no model is called 'gpt-4o'", "openai/NAME"),
        ("./nothing", "no such folder of a model: './nothing'", "OWNER/NAME"),
        ("some/where/else", "no such folder of a model: 'some/where/else'", "OWNER/NAME"),
        ("runs/three", "this run has no checkpoint: 'runs/three'", "spavl train dpo"),
    ],
)
def test_what_names_no_model_is_told_with_what_would(home: Path, name: str, what: str, then: str) -> None:
    for resolve in (model_uri, guard_uri, rewarder_uri):
        with pytest.raises(ConfigError) as told:
            resolve(name)
        assert what in told.value.what and then in told.value.then
    with pytest.raises(ConfigError) as told:
        read_settings(BuildConfig, {"questions": {"writer": name}}, {}, "my.toml")
    assert told.value.where == f"questions.writer = {name!r}" and what in told.value.what


@pytest.mark.parametrize(
    ("name", "then"),
    [
        ("llama-gard-3/openai/x", "did you mean llama-guard-3/openai/x"),
        ("rules/minature", "did you mean rules/miniature?"),
        ("keyword/gcg@2", "did you mean keywords/gcg@2?"),
        ("keywords/gcg", "did you mean keywords/gcg@2?"),
        ("keywords/nothing", "did you mean keywords/gcg@2 or keywords/autodan@1 or"),
        ("criterionn/legal/openai/x", "did you mean criterion/legal/openai/x"),
    ],
)
def test_a_misspelt_guard_is_told_with_the_one_that_was_meant(home: Path, name: str, then: str) -> None:
    with pytest.raises(ConfigError) as told:
        guard_uri(name)
    assert told.value.what == f"no such guard or judge: {name!r}" and then in told.value.then


def test_a_folder_goes_before_what_its_name_is_like(home: Path) -> None:
    (home / "opneai" / "x").mkdir(parents=True)
    assert model_uri("opneai/x") == guard_uri("opneai/x") == "hf/opneai/x"


def test_an_evaluation_names_its_models_in_any_way(home: Path) -> None:
    table = {"models": "base=mine,runs/one", "base": "./runs/one/"}
    config = resolve_evaluation_config(read_settings(EvaluationConfig, table, {}, "a test"))
    assert config.models == ("base=hf/mine", "hf/runs/one/checkpoints/aligned")
    tested = models_by_name(config.models)
    assert tested == {"base": "hf/mine", config.models[1]: config.models[1]}
    for typed in ("base", "mine", "hf/mine"):
        assert name_among(tested, typed) == "base"
    for typed in ("runs/one", "hf/runs/one", "runs/one/checkpoints/aligned", "hf/runs/one/checkpoints/aligned"):
        assert name_among(tested, typed) == config.models[1]
    assert name_among(tested, "nobody") == "nobody"
