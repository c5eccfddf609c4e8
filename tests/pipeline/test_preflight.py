"""What settings name is tried before the first stage: a slip costs no call, in a build and in its dry run alike."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from spavl.config import options
from spavl.errors import ConfigError, SpavlError
from spavl.models.backends.openai import LOOPBACK_ONLY
from spavl.pipeline.preflight import OPENERS
from spavl.pipeline.registry import STAGES, BuildConfig
from spavl.pipeline.settings import read_config
from tests.pipeline.test_cost_estimate import LEAVES, answer, estimated, small_pipeline, walk
from tests.support.images import encoded, photo
from tests.support.servers import ChatServer

Begin = Callable[[BuildConfig, Path], object]

# What may name a file, and never a chat model; pools and lists of responders are read by their own room.
_OTHERS = {
    "taxonomy.file",
    "sourcing.source",
    "sourcing.search_model",
    "downloads.similarity_model",
    "selection.removals",
    "captions.prompts",
    "questions.prompts",
    "responses.models",
    "responses.pool",
}


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with ChatServer(answer) as running:
        yield running


@pytest.fixture(params=[estimated, walk], ids=["dry run", "build"])
def begin(request: pytest.FixtureRequest) -> Begin:
    told: Begin = request.param
    return told


def whole(folder: Path, url: str, **options: str) -> BuildConfig:
    """A pipeline through all stages, some of its settings changed."""
    evaluation = {"guard": f"openai/guard@{url}", "judge": f"openai/judge@{url}", "canaries": "warn"}
    table = small_pipeline(folder, url, training={}, evaluation=evaluation).model_dump(mode="json", exclude_none=True)
    return read_config(table, options, "a test")


def told(begin: Begin, config: BuildConfig, folder: Path, server: ChatServer) -> SpavlError:
    """What is said at once: nobody was asked, and no stage was begun."""
    with pytest.raises(SpavlError) as caught:
        begin(config, folder / "run")
    assert not server.seen
    assert not (folder / "run" / "tables").exists()
    assert caught.value.then
    return caught.value


@pytest.mark.parametrize("setting", [*OPENERS, "responses.models"])
def test_a_name_that_means_nothing_is_told_with_its_setting(
    tmp_path: Path, server: ChatServer, setting: str, begin: Begin
) -> None:
    slip = "openia/slip"
    given = f'["{slip}", "fixed/refuse"]' if setting == "responses.models" else slip
    with pytest.raises(ConfigError, match=r"no such kind of model|no such guard") as told:
        begin(whole(tmp_path, server.url, **{setting: given}), tmp_path / "run")
    assert told.value.where == f"{setting} = {slip!r}" and "did you mean openai/slip?" in told.value.then
    assert not server.seen and not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("setting", "name", "what"),
    [
        ("questions.writer", "openai/m@localhost:8000", "no address of a server"),
        ("verdicts.guard", "llama-guard-4/openai/m@http:/127.0.0.1/v1", "no address of a server"),
        ("verdicts.guard", "criterion/kindness/fixed/comply", "no criterion is called"),
        ("preferences.judge", "llama-guard-4/openai/m@http://127.0.0.1:9/v1", "cannot compare two"),
        ("evaluation.before", "hf/no/such/folder", "no such folder"),
        ("training.model", "openai/m@http://127.0.0.1:9/v1", "can be trained"),
        ("training.ppo.reward", "reward/no/such/folder", "no such folder"),
        ("responses.models", '["miniature/nobody", "miniature/base"]', "no persona"),
    ],
)
def test_whatever_is_wrong_with_a_name_is_told(
    tmp_path: Path, server: ChatServer, setting: str, name: str, what: str, begin: Begin
) -> None:
    with pytest.raises(ConfigError) as told:
        begin(whole(tmp_path, server.url, **{setting: name}), tmp_path / "run")
    assert what in told.value.what and told.value.where.startswith(setting) and told.value.then
    assert not server.seen and not (tmp_path / "run" / "tables").exists()


@pytest.mark.parametrize("setting", ["captions.prompts", "questions.prompts", "questions.language"])
def test_prompts_and_languages_that_are_not_there_are_told(
    tmp_path: Path, server: ChatServer, setting: str, begin: Begin
) -> None:
    error = told(begin, whole(tmp_path, server.url, **{setting: "volapuk"}), tmp_path, server)
    assert setting in error.where


def test_a_leaf_to_hold_out_that_the_taxonomy_lacks_is_told(tmp_path: Path, server: ChatServer, begin: Begin) -> None:
    error = told(begin, whole(tmp_path, server.url, **{"selection.held_out_leaves": '["leaf 00"]'}), tmp_path, server)
    assert error.what == "no such leaves: leaf 00" and error.where == "selection.held_out_leaves"
    assert "did you mean leaf 0" in error.then


def test_one_process_alone_has_nobody_to_share_weights_with(
    tmp_path: Path, server: ChatServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    error = told(walk, whole(tmp_path, server.url, **{"training.loop.shard": "true"}), tmp_path, server)
    assert error.where == "training.loop.shard" and "accelerate launch" in error.then


@pytest.mark.parametrize(
    "setting", ["verdicts.guard", "preferences.judge", "evaluation.guard", "training.validation.guard"]
)
def test_the_rules_of_the_miniature_judge_no_other_images(
    tmp_path: Path, server: ChatServer, setting: str, begin: Begin
) -> None:
    for leaf in range(LEAVES):
        folder = tmp_path / "mine" / f"leaf {leaf}"
        folder.mkdir(parents=True)
        (folder / "one.png").write_bytes(encoded(photo(leaf), "PNG"))
    options = {"sourcing.source": str(tmp_path / "mine"), setting: "rules/miniature"}
    error = told(begin, whole(tmp_path, server.url, **options), tmp_path, server)
    assert "only judge images of the miniature" in error.what and error.where.startswith(setting)


def test_a_key_that_is_missing_is_told_before_anybody_is_asked(
    tmp_path: Path, server: ChatServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv(LOOPBACK_ONLY)
    config = whole(tmp_path, server.url, **{"preferences.judge": "openai/gpt-4o"})
    assert "OPENAI_API_KEY" in told(walk, config, tmp_path, server).then
    assert estimated(config, tmp_path / "run").lines, "what it would cost can be known without a key"


def test_what_a_build_costs_is_told_where_no_training_could_run(
    tmp_path: Path, server: ChatServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spavl.training.loop.distributed._NEEDED", ("no_such_package",))
    config = whole(tmp_path, server.url)
    assert "training needs no_such_package" in told(walk, config, tmp_path, server).what
    assert estimated(config, tmp_path / "run").lines


def test_whoever_has_done_their_part_need_not_be_there_any_more(
    tmp_path: Path, server: ChatServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    responders = [f'[[responder]]\nname = "{name}"\nmodel = "openai/{name}@{server.url}"\n' for name in ("one", "two")]
    (tmp_path / "pool.toml").write_text('name = "p"\n' + "needs_key = true\n".join([*responders, ""]))
    options = {"responses.pool": str(tmp_path / "pool.toml"), "selection.per_leaf": "1"}
    config, out = whole(tmp_path, server.url, **options), tmp_path / "run"
    with pytest.raises(ConfigError, match="cannot be asked yet"):
        walk(config, out, "verdicts")
    monkeypatch.setenv("SPAVL_API_KEY_127_0_0_1", "a key")
    walk(config, out, "responses")
    monkeypatch.delenv("SPAVL_API_KEY_127_0_0_1")
    walk(config, out, "verdicts")


def test_no_setting_that_may_name_a_model_is_forgotten() -> None:
    known = {option.name for option in options(BuildConfig)}
    may = {f"{entry.section}.{name}" for entry in STAGES for name in entry.spec.files} & known
    # The models of an evaluation are settings of their own in a build.
    may |= {"evaluation.before", "evaluation.after"}
    assert may - _OTHERS <= OPENERS.keys()
