"""Every command sees that servers, keys, models and trackers are there before it pays or computes anything."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from spavl.errors import ConfigError, ProviderError, SpavlError
from spavl.models.factory import miniature_checkpoint
from tests.pipeline.test_cost_estimate import answer, small_pipeline, walk
from tests.support.evaluations import SAFE, evaluate, judged, write_spa_vl
from tests.support.servers import ChatServer, fault
from tests.training.test_train import data, spavl  # noqa: F401  (`data` is a fixture)

NOBODY = "http://127.0.0.1:1/v1"


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with ChatServer(judged(SAFE)) as running:
        yield running


def evaluation(folder: Path, url: str, **changed: Any) -> dict[str, Any]:
    return {
        "models": (f"openai/one@{url}",),
        "suite": ("harmeval",),
        "data": (str(write_spa_vl(folder / "data", 6, 2)),),
        "guard": (f"openai/guard@{url}",),
        "max_tokens": 32,
        **changed,
    }


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ({"models": ("fixed/comply", f"openai/two@{NOBODY}")}, "no server answers"),
        ({"guard": ("fixed/comply", f"openai/guard@{NOBODY}")}, "no server answers"),
        ({"judge": f"openai/judge@{NOBODY}"}, "no server answers"),
        ({"models": ("fixed/comply", "hf/no/such/folder")}, "no such folder"),
        ({"models": ("fixed/comply", "hf/{tmp}")}, "cannot load this model"),
        ({"conditions": ("real", "paraphrase"), "paraphrases": "openia/slip"}, "no such kind of model"),
        ({"base": "nobody"}, "nobody is not among the tested models"),
        ({"gold_guard": "openai/other"}, "is not one of the guards"),
        ({"gold_answers": "no/such/file.jsonl"}, "no such file of gold answers"),
        ({"contamination": {"train": "{tmp}/empty"}}, "Parquet"),
    ],
)
def test_an_evaluation_is_refused_before_anybody_is_asked(
    tmp_path: Path, server: ChatServer, changed: dict[str, Any], what: str
) -> None:
    (tmp_path / "empty").mkdir()
    changed = {name: _placed(value, tmp_path) for name, value in changed.items()}
    with pytest.raises(SpavlError) as told:
        evaluate(tmp_path / "out", **evaluation(tmp_path, server.url, **changed))
    assert what in str(told.value) and told.value.then
    assert not server.seen
    assert not (tmp_path / "out" / "tables").exists(), "no benchmark was read"


def _placed(value: Any, folder: Path) -> Any:
    if isinstance(value, str):
        return value.replace("{tmp}", str(folder))
    if isinstance(value, dict):
        return {name: _placed(each, folder) for name, each in value.items()}
    return tuple(_placed(each, folder) for each in value)


def test_a_finished_evaluation_needs_no_server_any_more(tmp_path: Path) -> None:
    with ChatServer(judged(SAFE)) as server:
        settings = evaluation(tmp_path, server.url)
        results = evaluate(tmp_path / "out", **settings)
    assert evaluate(tmp_path / "out", **settings) == results


def refusing_key() -> web.Response:
    return fault(401, "wrong key")


@pytest.mark.parametrize("who", ["questions.writer", "verdicts.guard", "preferences.judge"])
def test_a_wrong_key_of_any_stage_ends_a_build_before_the_first(tmp_path: Path, who: str) -> None:
    section, _, setting = who.partition(".")
    with ChatServer(answer) as server, ChatServer(answer, models=refusing_key) as locked:
        config = small_pipeline(tmp_path, server.url)
        own = getattr(config, section).model_copy(update={setting: f"openai/x@{locked.url}"})
        with pytest.raises(ProviderError, match="401") as told:
            walk(config.model_copy(update={section: own}), tmp_path / "run")
        assert "SPAVL_API_KEY" in told.value.then
        assert not server.seen and not locked.seen
    assert not (tmp_path / "run" / "tables").exists()


@pytest.mark.slow
def test_the_server_of_a_later_stage_may_be_started_later(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with ChatServer(answer) as server:
        config = small_pipeline(tmp_path, server.url)
        later = config.preferences.model_copy(update={"judge": f"openai/judge@{NOBODY}"})
        walk(config.model_copy(update={"preferences": later}), tmp_path / "run", "verdicts")
        assert NOBODY not in capsys.readouterr().err, "no stage of this command asks it"
        with pytest.raises(ProviderError, match="no server answers"):
            walk(config.model_copy(update={"preferences": later}), tmp_path / "run")
        first = config.questions.model_copy(update={"writer": f"openai/writer@{NOBODY}"})
        with pytest.raises(ProviderError, match="no server answers"):
            walk(config.model_copy(update={"questions": first}), tmp_path / "other")
    assert not (tmp_path / "other" / "tables").exists()


def test_of_several_addresses_one_that_answers_is_enough(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with ChatServer(answer) as server:
        config = small_pipeline(tmp_path, server.url)
        first = config.questions.model_copy(update={"writer": f"openai/writer@{server.url},{NOBODY}"})
        walk(config.model_copy(update={"questions": first}), tmp_path / "run", "questions")
        assert f"no server answers at {NOBODY} yet" in "".join(capsys.readouterr())
        none = config.questions.model_copy(update={"writer": f"openai/writer@{NOBODY},http://127.0.0.1:2/v1"})
        with pytest.raises(ProviderError, match="no server answers"):
            walk(config.model_copy(update={"questions": none}), tmp_path / "other", "questions")


def test_a_server_that_will_be_needed_later_is_told_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with ChatServer(answer) as server:
        config = small_pipeline(tmp_path, server.url)
        later = config.preferences.model_copy(update={"judge": f"openai/judge@{NOBODY}"})
        with pytest.raises(ProviderError):
            walk(config.model_copy(update={"preferences": later}), tmp_path / "run")
    told = "".join(capsys.readouterr())
    assert told.index(f"no server answers at {NOBODY} yet; preferences asks judge there") < told.index("questions")


def test_a_name_that_its_server_does_not_list_is_told_with_the_nearest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    listed = {"object": "list", "data": [{"id": name} for name in ("gaurd", "writer", "one", "two", "three", "judge")]}
    with ChatServer(answer, models=lambda: web.json_response(listed)) as server:
        walk(small_pipeline(tmp_path, server.url), tmp_path / "run", "questions")
        assert "does not list" not in "".join(capsys.readouterr())
        walk(small_pipeline(tmp_path, server.url), tmp_path / "run", "verdicts")
    assert "does not list guard, which verdicts asks; it lists gaurd" in "".join(capsys.readouterr())


def test_a_key_that_may_ask_and_may_not_list_is_good(tmp_path: Path) -> None:
    with ChatServer(answer, models=lambda: fault(403, "Missing scopes: api.model.read")) as server:
        walk(small_pipeline(tmp_path, server.url), tmp_path / "run", "questions")
        assert server.seen


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (("--loop.tracker", "trackio"), "trackio is not installed"),
        (("--validation.guard", "openia/slip"), "no such kind of model"),
        (("--validation.guard", f"openai/guard@{NOBODY}"), "no server answers"),
    ],
)
def test_a_training_is_refused_before_its_data_are_brought_in(
    data: Path,  # noqa: F811
    options: tuple[str, ...],
    what: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert spavl("dpo", "--model", "miniature/base", "--data", str(data), "--out", "run", *options) == 2
    assert what in capsys.readouterr().err
    assert not Path("run").exists()


def test_a_folder_without_weights_or_of_a_model_of_words_alone_is_no_model(tmp_path: Path, server: ChatServer) -> None:
    from transformers import AutoConfig, LlamaConfig

    AutoConfig.from_pretrained(miniature_checkpoint()).save_pretrained(tmp_path / "bare")
    LlamaConfig().save_pretrained(tmp_path / "words")
    for name, what in (("bare", "no weights"), ("words", "reads no images")):
        with pytest.raises(ConfigError, match=what):
            evaluate(tmp_path / "out", **evaluation(tmp_path, server.url, models=(f"hf/{tmp_path / name}",)))
    assert not server.seen
