"""Invariants of the pipeline from the taxonomy to the data set, walked on the miniature with a pool behind a server."""

import asyncio
import base64
import functools
import hashlib
import random
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, get_args

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from spavl.data.preferences.run import winner_of
from spavl.errors import GateError
from spavl.evaluation.before_after.items import HELD_OUT_IMAGES, HELD_OUT_LEAVES
from spavl.evaluation.records import Answer, Item, Judgement, PairwiseResult
from spavl.judges.pairwise import PairwiseComparison
from spavl.miniature.grammar import VERBS, QuestionKind, speak_answer, speak_question, verb_of
from spavl.miniature.personas import PERSONAS, manner_of
from spavl.miniature.world import Scene, draw, png, scene
from spavl.models.wrappers.stack import Retrying
from spavl.pipeline.build import run_build
from spavl.pipeline.registry import STAGES, BuildConfig
from spavl.pipeline.settings import read_config
from spavl.records import (
    Candidate,
    Category,
    DownloadedImage,
    Image,
    Outcome,
    Pair,
    Preference,
    Question,
    Record,
    Reject,
    Response,
    Sample,
    Verdict,
)
from spavl.store import RunFolder
from spavl.store.tables import read_table
from spavl.terminal.progress import Screen
from tests.support.evaluations import but_canaries, said
from tests.support.servers import Body, ChatServer, body_hash, completion, fault

R = TypeVar("R", bound=Record)

SEED, LEAVES, PER_LEAF, HELD_OUT = 3, 8, 2, "leaf 7"
STAGE_NAMES = (
    "taxonomy",
    "sourcing",
    "downloads",
    "selection",
    "captions",
    "questions",
    "question_verdicts",
    "responses",
    "verdicts",
    "pairs",
    "preferences",
    "dataset",
)
WRITES = {entry.name: entry.writes for entry in STAGES}


# --- the pool: what the miniature's checkpoint would say, without the checkpoint


@functools.cache
def scenes() -> dict[str, Scene]:
    """The scenes of a run by the hash of their images."""
    drawn = [
        scene(position, number, SEED, live=live)
        for position in range(LEAVES)
        for number in range(PER_LEAF + 1)
        for live in (True, False)
    ]
    return {hashlib.sha256(png(draw(each))).hexdigest(): each for each in drawn}


def seen_and_asked(body: Body) -> tuple[Scene | None, str]:
    shown, said = body["messages"][-1]["content"]
    image = base64.b64decode(shown["image_url"]["url"].partition(",")[2])
    return scenes().get(hashlib.sha256(image).hexdigest()), said["text"]


# What a judge that grades nothing says before it compares.
EVEN = "harm_a: 0\nharm_b: 0\nhelp_a: 1\nhelp_b: 1\n"


def pool(body: Body) -> str | web.Response:
    """Every model of the tests, told apart by its name. Some of them have their whims, so that rows are rejected."""
    name, rng = body["model"], random.Random(body_hash(body))
    if name == "always A":
        return f"{EVEN}harmless: A\nhelpful: A\noverall: A"
    if name == "prude":
        better = the_one_that_refuses(body)
        return EVEN + "\n".join(f"{measure}: {better}" for measure in ("harmless", "helpful", "overall"))
    if name == "garbage":
        return "it seems to be quite safe"
    seen, text = seen_and_asked(body)
    if seen is None:
        return "i see many colours here ."
    if name == "writer":
        return written(rng, seen, text)
    whim = (name, seen.thing.noun, seen.live)
    if whim == ("hasty", "wug", True):
        return fault(400, "this content is not allowed")
    if whim == ("careful", "zib", False):
        return completion("", finish="content_filter")
    if whim == ("loose", "fep", True):
        return "   "
    verb = verb_of(text)
    assert verb, f"a question of no verb: {text}"
    return speak_answer(rng, seen, verb, manner_of(PERSONAS[name], rng, seen.live))


def the_one_that_refuses(body: Body) -> str:
    text = said(body)
    one, two = (" not " in text.partition(f"ANSWER {name}\n")[2].partition("\n#")[0] for name in "AB")
    return "tie" if one == two else "A" if one else "B"


def written(rng: random.Random, seen: Scene, request: str) -> str:
    wish = request.partition(":")[0]
    kind: QuestionKind = "statement" if "statement" in wish else "hard" if "hard" in wish else "easy"
    if seen.thing.noun == "dax" and kind == "statement":
        return ""
    return speak_question(rng, kind, rng.choice(VERBS))


# --- the pipeline


def write_taxonomy(file: Path, wide: int = 2) -> Path:
    """A tree of as many domains, of as many groups each, of as many leaves each."""
    number = iter(range(wide**3))
    lines = ['name = "small"', "version = 1"]
    for domain in range(wide):
        lines += ["[[domain]]", f'name = "domain {domain}"']
        for group in range(wide):
            leaves = ", ".join(f'{{ name = "leaf {next(number)}" }}' for _ in range(wide))
            lines += ["[[domain.group]]", f'name = "group {domain}{group}"', f"leaves = [{leaves}]"]
    file.write_text("\n".join(lines))
    return file


def settings(taxonomy: Path, url: str, **options: str) -> BuildConfig:
    """The settings of a small pipeline; options by name, with two underscores for the dot."""
    table: dict[str, Any] = {
        "seed": SEED,
        "taxonomy": {"file": str(taxonomy)},
        "sourcing": {"per_leaf": PER_LEAF + 1},
        "selection": {"per_leaf": PER_LEAF, "test_share": 0.25, "validation_share": 0.3},
        "questions": {"writer": f"openai/writer@{url}"},
        "responses": {"models": [f"openai/{name}@{url}" for name in PERSONAS]},
        # The miniature's questions do not name what they ask about, so many are the same.
        "dataset": {"leaks": {"question_similarity": 1.0}},
    }
    return read_config(table, {name.replace("__", "."): text for name, text in options.items()}, "a test")


def walk(config: BuildConfig, out: Path, until: str = "dataset") -> None:
    asyncio.run(run_build(config, out, until, Screen()))


def rows(run: Path, stage: str, kind: type[R]) -> list[R]:
    return list(read_table(run / "tables" / f"{stage}.parquet", kind))


def by_id(run: Path, stage: str, kind: type[R]) -> dict[str, R]:
    return {row.id: row for row in rows(run, stage, kind)}


def rejects(run: Path, stage: str) -> list[Reject]:
    return rows(run, f"{stage}.rejects", Reject)


def left_behind(run: Path, *stages: str) -> dict[str, tuple[int, bytes]]:
    """The tables and manifests of stages: when they were written, and what is in them."""
    files = [run / "tables" / f"{stage}{kind}.parquet" for stage in stages for kind in ("", ".rejects")]
    files += [run / "stages" / f"{stage}.json" for stage in stages]
    return {str(file.relative_to(run)): (file.stat().st_mtime_ns, file.read_bytes()) for file in files}


class Walked(NamedTuple):
    """A pipeline that was walked to the data set, and the server it was walked with."""

    server: ChatServer
    taxonomy: Path
    run: Path

    def settings(self, **options: str) -> BuildConfig:
        return settings(self.taxonomy, self.server.url, selection__held_out_leaves=f'["{HELD_OUT}"]', **options)


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Walked]:
    folder = tmp_path_factory.mktemp("pipeline")
    with ChatServer(pool) as server:
        built = Walked(server, write_taxonomy(folder / "taxonomy.toml"), folder / "run")
        walk(built.settings(), built.run)
        yield built


@pytest.fixture
def copied(walked: Walked, tmp_path: Path) -> Walked:
    """The walked pipeline in a folder of its own, which a test may walk on."""
    return walked._replace(run=Path(shutil.copytree(walked.run, tmp_path / "run")))


@pytest.fixture
def leaf(tmp_path: Path) -> Path:
    """A taxonomy of a single leaf."""
    return write_taxonomy(tmp_path / "taxonomy.toml", wide=1)


# --- what stands on disk


def test_every_sample_can_be_traced_back_to_its_category(walked: Walked) -> None:
    run = walked.run
    preferences, pairs = by_id(run, "preferences", Preference), by_id(run, "pairs", Pair)
    responses, questions = by_id(run, "responses", Response), by_id(run, "questions", Question)
    images, categories = by_id(run, "selection", Image), by_id(run, "taxonomy", Category)
    samples = rows(run, "dataset", Sample)
    assert len(samples) > 10
    for sample in samples:
        preference = preferences[sample.preference_id]
        pair = pairs[preference.pair_id]
        first, second = responses[pair.first], responses[pair.second]
        assert {preference.chosen, preference.rejected} == {first.id, second.id}
        assert {sample.chosen, sample.rejected} == {first.text, second.text}
        assert {sample.chosen_model, sample.rejected_model} == {first.model, second.model}
        assert first.question_id == second.question_id == sample.question_id
        question = questions[sample.question_id]
        image = images[question.image_id]
        assert (sample.question, sample.image_id, sample.blob) == (question.text, image.id, image.blob)
        assert sample.leaf == image.leaf == categories[image.category_id].leaf


def test_no_row_of_any_table_is_an_orphan(walked: Walked) -> None:
    run = walked.run
    parents = {stage: by_id(run, stage, WRITES[stage]) for stage in STAGE_NAMES}
    assert all(verdict.response_id in parents["responses"] for verdict in rows(run, "verdicts", Verdict))
    assert all(response.question_id in parents["questions"] for response in rows(run, "responses", Response))
    assert all(question.image_id in parents["selection"] for question in rows(run, "questions", Question))
    assert all(image.candidate_id in parents["sourcing"] for image in rows(run, "selection", Image))
    assert all(photo.candidate_id in parents["sourcing"] for photo in rows(run, "downloads", DownloadedImage))
    assert all(candidate.category_id in parents["taxonomy"] for candidate in rows(run, "sourcing", Candidate))
    for twins in (rows(run, "sourcing", Candidate), rows(run, "questions", Question), rows(run, "selection", Image)):
        ids = {row.id for row in twins}
        assert all(row.twin_of is None or row.twin_of in ids for row in twins)


def test_every_text_of_a_model_can_be_traced_to_its_call(walked: Walked) -> None:
    with RunFolder(walked.run) as run:
        calls = {call.key: call for call in run.ledger.calls()}
        assert run.ledger.totals()["made_again"] == 0
    spoken: list[Question | Response] = [*rows(walked.run, "questions", Question)]
    spoken += rows(walked.run, "responses", Response)
    assert all(calls[row.call].text == row.text for row in spoken)


@pytest.mark.parametrize("stage", STAGE_NAMES)
def test_no_id_stands_for_two_rows(walked: Walked, stage: str) -> None:
    made = rows(walked.run, stage, WRITES[stage])
    assert made
    assert len({row.id for row in made}) == len(made)


def test_rows_and_rejects_account_for_every_input(walked: Walked) -> None:
    run = walked.run
    images, questions = rows(run, "selection", Image), rows(run, "questions", Question)
    responses, pairs = rows(run, "responses", Response), rows(run, "pairs", Pair)
    taught = {image.id for image in images if image.split in ("train", "validation")}
    wanted = sum(3 if image.id in taught else 1 for image in images if image.twin_of is None)
    asked = [question for question in questions if question.image_id in taught]

    candidates, photos = rows(run, "sourcing", Candidate), rows(run, "downloads", DownloadedImage)
    assert len(candidates) == 2 * LEAVES * (PER_LEAF + 1), "each image and its twin"
    assert len(photos) + len(rejects(run, "downloads")) == len(candidates)
    assert len(images) == 2 * LEAVES * PER_LEAF
    written = [question for question in questions if question.twin_of is None]
    assert len(written) + len(rejects(run, "questions")) == wanted
    assert len(questions) == 2 * len(written)
    assert len(responses) + len(rejects(run, "responses")) == len(PERSONAS) * len(asked)
    assert len(rows(run, "verdicts", Verdict)) == len(responses)
    assert {row.question_id for row in pairs} | {row.parent_id for row in rejects(run, "pairs")} == {
        row.question_id for row in responses
    }
    preferences = rows(run, "preferences", Preference)
    assert len(preferences) + len(rejects(run, "preferences")) == len(pairs)
    assert len(rows(run, "dataset", Sample)) + len(rejects(run, "dataset")) == len(preferences)


def test_rejects_keep_their_reason_and_its_parent(walked: Walked) -> None:
    run = walked.run
    assert {row.reason for row in rejects(run, "questions")} == {"empty"}
    assert {row.reason for row in rejects(run, "responses")} == {"refused_by_server", "empty"}
    refused = [row for row in rejects(run, "responses") if row.reason == "refused_by_server"]
    assert refused
    assert all("hasty" in row.detail and "this content is not allowed" in row.detail for row in refused)
    questions = by_id(run, "questions", Question)
    assert all(row.parent_id in questions for row in rejects(run, "responses"))


def test_a_refusal_is_kept_and_what_could_not_be_judged_is_in_no_pair(copied: Walked) -> None:
    walk(copied.settings(pairs__strategy="random", pairs__per_question="99"), copied.run, until="pairs")
    verdicts = {verdict.response_id: verdict for verdict in rows(copied.run, "verdicts", Verdict)}
    filtered = [row for row in rows(copied.run, "responses", Response) if row.finish == "refused"]
    assert filtered
    assert all(verdicts[row.id].refused and verdicts[row.id].label == "invalid" for row in filtered)
    for pair in rows(copied.run, "pairs", Pair):
        assert "invalid" not in (verdicts[pair.first].label, verdicts[pair.second].label)


def test_the_chosen_answer_is_the_one_that_was_preferred_and_is_safe(walked: Walked) -> None:
    pairs, responses = by_id(walked.run, "pairs", Pair), by_id(walked.run, "responses", Response)
    preferences = by_id(walked.run, "preferences", Preference)
    verdicts = {verdict.response_id: verdict for verdict in rows(walked.run, "verdicts", Verdict)}
    outcomes: Counter[str] = Counter()
    for sample in rows(walked.run, "dataset", Sample):
        preference = preferences[sample.preference_id]
        pair = pairs[preference.pair_id]
        order = (pair.first, pair.second) if preference.overall == "win" else (pair.second, pair.first)
        assert (sample.chosen, sample.rejected) == tuple(responses[answer].text for answer in order)
        assert verdicts[order[0]].label == "safe"
        assert sample.harmful or not verdicts[order[0]].refused, "a refusal of what is harmless was taught"
        better_at = {name for name in ("harmless", "helpful") if getattr(preference, name) == preference.overall}
        contrasts = {"safety": {"harmless"}, "helpfulness": {"helpful"}, "both": {"harmless", "helpful"}}
        assert contrasts[sample.contrast] == better_at
        outcomes[preference.overall] += 1
    assert set(outcomes) == {"win", "loss"}, "which answer stands first must say nothing"


@pytest.mark.parametrize(
    ("judge", "reason", "setting"),
    [
        ("rules/miniature", "chosen_unsafe", "dataset__drop_unsafe_chosen"),
        ("openai/prude@{url}", "chosen_refuses_harmless", "dataset__drop_refusing_chosen"),
    ],
)
def test_pairs_with_a_bad_winner_are_dropped_if_that_is_wanted(
    copied: Walked, judge: str, reason: str, setting: str
) -> None:
    def made(wanted: str) -> tuple[int, Counter[str]]:
        # Which pairs are drawn depends on the port of the server, which is part of the names of models: so draw many.
        options = {"pairs__per_question": "4", "preferences__judge": judge.format(url=copied.server.url)}
        # Pairs of two unsafe answers are judged only on request where the data set would drop them.
        options |= {"preferences__canaries": "warn", "preferences__judge_both_unsafe": "true"}
        walk(copied.settings(**options, **{setting: wanted}), copied.run)
        reasons = Counter(row.reason for row in rejects(copied.run, "dataset"))
        return len(rows(copied.run, "dataset", Sample)), reasons

    (kept, dropped), (all_kept, now) = made("true"), made("false")
    assert dropped[reason]
    assert not now[reason]
    others = dropped.total() - dropped[reason]
    assert all_kept + now.total() - others == kept + dropped[reason]


def test_a_pair_stands_on_two_tiers(walked: Walked) -> None:
    assert all(pair.first_tier != pair.second_tier for pair in rows(walked.run, "pairs", Pair))


def test_no_image_of_the_tests_is_in_the_data_set_nor_was_it_shown_to_the_pool(walked: Walked) -> None:
    images = rows(walked.run, "selection", Image)
    hidden = {image.blob for image in images if image.split in ("test", "held_out")}
    assert {image.split for image in images if image.leaf == HELD_OUT} == {"held_out"}
    assert hidden.isdisjoint(sample.blob for sample in rows(walked.run, "dataset", Sample))
    questions = by_id(walked.run, "questions", Question)
    split_of = {image.id: image.split for image in images}
    shown = {split_of[questions[row.question_id].image_id] for row in rows(walked.run, "responses", Response)}
    assert shown == {"train", "validation"}


# --- walking on


def test_a_second_walk_does_nothing(walked: Walked) -> None:
    before, asked = left_behind(walked.run, *STAGE_NAMES), walked.server.seen.total()
    walk(walked.settings(), walked.run)
    assert left_behind(walked.run, *STAGE_NAMES) == before
    assert walked.server.seen.total() == asked


def test_another_setting_redoes_its_stage_and_what_follows_and_asks_nothing_again(copied: Walked) -> None:
    kept = STAGE_NAMES[: STAGE_NAMES.index("pairs")]
    before, asked = left_behind(copied.run, *kept), copied.server.seen.total()
    old = left_behind(copied.run, "pairs", "preferences", "dataset")
    walk(copied.settings(pairs__per_question="2"), copied.run)
    assert left_behind(copied.run, *kept) == before
    new = left_behind(copied.run, "pairs", "preferences", "dataset")
    redone = [name for name in new if "rejects" not in name]
    assert all(new[name][1] != old[name][1] for name in redone)
    assert copied.server.seen.total() == asked


def test_going_back_to_old_settings_gives_the_old_rows(copied: Walked) -> None:
    walk(copied.settings(pairs__per_question="2"), copied.run)
    walk(copied.settings(), copied.run)
    for stage in STAGE_NAMES:
        assert rows(copied.run, stage, WRITES[stage]) == rows(walked_run(copied), stage, WRITES[stage])


def walked_run(copy: Walked) -> Path:
    return copy.taxonomy.with_name("run")


def test_an_edited_taxonomy_is_read_anew(leaf: Path, tmp_path: Path) -> None:
    with ChatServer(pool) as server:
        config = settings(leaf, server.url)
        walk(config, tmp_path / "run", until="selection")
        leaf.write_text(leaf.read_text().replace("leaf 0", "another leaf"))
        walk(config, tmp_path / "run", until="selection")
    assert {image.leaf for image in rows(tmp_path / "run", "selection", Image)} == {"another leaf"}


@pytest.mark.slow
def test_the_rows_do_not_hang_on_how_many_are_under_way(leaf: Path, tmp_path: Path) -> None:
    with ChatServer(pool) as server:
        for number in ("1", "64"):
            walk(settings(leaf, server.url, in_flight=number), tmp_path / number)
    for stage in STAGE_NAMES:
        one, many = (rows(tmp_path / number, stage, WRITES[stage]) for number in ("1", "64"))
        assert one == many


# --- judges that cannot be trusted


def test_a_judge_that_always_says_the_first_teaches_nothing(copied: Walked) -> None:
    with pytest.raises(GateError, match="inconsistent") as told:
        walk(
            copied.settings(preferences__judge=f"openai/always A@{copied.server.url}", preferences__canaries="warn"),
            copied.run,
        )
    assert told.value.where == "dataset", "a data set without a row is none"
    preferences = rows(copied.run, "preferences", Preference)
    assert preferences
    assert {row.overall for row in preferences} == {"inconsistent"}
    assert not rows(copied.run, "dataset", Sample)
    assert Counter(row.reason for row in rejects(copied.run, "dataset")) == {"inconsistent": len(preferences)}


def test_a_guard_that_cannot_be_read_stops_the_run_and_has_never_said_safe(leaf: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with ChatServer(pool) as server:
        garbage = settings(leaf, server.url, verdicts__guard=f"openai/garbage@{server.url}", verdicts__canaries="warn")
        with pytest.raises(GateError, match="could not be read"):
            walk(garbage, run)
        asked = but_canaries(server).total()
        with pytest.raises(GateError, match="another guard"):
            walk(garbage, run)
        assert but_canaries(server).total() == asked, "the same command asked the same guard the same things again"
        assert {verdict.label for verdict in rows(run, "verdicts", Verdict)} == {"invalid"}
        assert not (run / "stages" / "verdicts.json").exists()
        walk(settings(leaf, server.url), run)
    assert "safe" in {verdict.label for verdict in rows(run, "verdicts", Verdict)}


# --- providers that fail


class Ward:
    """The pool, with models that can be taken ill and made well."""

    def __init__(self, is_ill: Callable[[Body], bool], answer: Callable[[], web.Response]) -> None:
        self.is_ill, self._answer = is_ill, answer

    def __call__(self, body: Body) -> str | web.Response:
        return self._answer() if self.is_ill(body) else pool(body)


def test_when_one_responder_fails_the_run_stops_and_goes_on_with_it_alone(
    leaf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spavl.models.factory.Retrying", functools.partial(Retrying, tries=2, first_wait=0.01))
    ward = Ward(lambda body: body["model"] == "patient", lambda: fault(500))
    with ChatServer(ward) as server:
        config = settings(leaf, server.url)
        with pytest.raises(GateError, match="type the same command"):
            walk(config, tmp_path / "run")
        assert not (tmp_path / "run" / "stages" / "responses.json").exists()
        answered, failed = set(server.answered), server.seen.keys() - server.answered.keys()
        assert {server.bodies[name]["model"] for name in failed} == {"patient"}

        ward.is_ill = lambda _: False
        server.seen.clear()
        walk(config, tmp_path / "run")
        assert set(server.seen) == failed
        assert set(server.answered) == answered | failed
        assert set(server.answered.values()) == {1}
    assert not rejects(tmp_path / "run", "responses")


def test_a_responder_that_is_kept_from_all_harmful_questions_is_in_no_pair(leaf: Path, tmp_path: Path) -> None:
    """It has answers, but nothing to measure its safety by, and so no tier."""

    def is_ill(body: Body) -> bool:
        if body["model"] != "patient":
            return False
        seen, _ = seen_and_asked(body)
        return seen is not None and seen.live

    with ChatServer(Ward(is_ill, lambda: fault(400, "not allowed"))) as server:
        walk(settings(leaf, server.url, pairs__per_question="99"), tmp_path / "run")
    answers = {row.id: row.model.split("@")[0] for row in rows(tmp_path / "run", "responses", Response)}
    assert "openai/patient" in answers.values()
    paired = {answers[answer] for pair in rows(tmp_path / "run", "pairs", Pair) for answer in (pair.first, pair.second)}
    assert len(paired) > 6
    assert "openai/patient" not in paired


# --- what a comparison teaches

outcomes = st.sampled_from(get_args(Outcome))
comparisons = st.builds(PairwiseComparison, outcomes, outcomes, outcomes, st.just(()))


def a_pair(first: str, second: str) -> Pair:
    return Pair(question_id="q", first=first, second=second, first_tier=1, second_tier=2, strategy="random")


@given(comparisons)
def test_only_an_answer_that_won_in_both_orders_is_chosen(comparison: PairwiseComparison) -> None:
    winner = winner_of(a_pair("one", "two"), comparison)
    assert (winner is None) == (comparison.overall not in ("win", "loss"))
    if winner is not None:
        assert (winner.chosen, winner.rejected) == (("one", "two") if comparison.overall == "win" else ("two", "one"))
        better_at = (comparison.harmless == comparison.overall, comparison.helpful == comparison.overall)
        named = {(True, True): "both", (True, False): "safety", (False, True): "helpfulness", (False, False): "unknown"}
        assert winner.contrast == named[better_at]


@given(comparisons)
def test_which_answer_stands_first_decides_nothing(comparison: PairwiseComparison) -> None:
    flip: dict[Outcome, Outcome] = {"win": "loss", "loss": "win"}
    harmless, helpful, overall = (flip.get(outcome, outcome) for outcome in comparison[:3])
    swapped = PairwiseComparison(harmless, helpful, overall, ())
    assert winner_of(a_pair("one", "two"), comparison) == winner_of(a_pair("two", "one"), swapped)


# --- and measuring what came of it


def test_both_arms_answer_everything_that_no_training_saw(copied: Walked) -> None:
    url = copied.server.url
    arms = {"evaluation__before": f"openai/reckless@{url}", "evaluation__after": f"openai/ward@{url}"}
    walk(copied.settings(**arms), copied.run, until="pairwise")
    images = by_id(copied.run, "selection", Image)
    questions = rows(copied.run, "questions", Question)
    items, answers = by_id(copied.run, "items", Item), rows(copied.run, "answers", Answer)
    for arm in ("before", "after"):
        asked = Counter((each.condition, items[each.item_id].key) for each in answers if each.model == arm)
        held_out = [q.id for q in questions if images[q.image_id].split == "held_out"]
        tested = [q.id for q in questions if images[q.image_id].split == "test"]
        assert held_out and tested
        assert asked == Counter(
            [("real", question) for question in held_out]
            + [(condition, question) for condition in ("real", "blank") for question in tested]
        )
    assert {item.benchmark for item in items.values()} == {HELD_OUT_IMAGES, HELD_OUT_LEAVES}
    unsafe = Counter(
        judged.model
        for judged in rows(copied.run, "judgements", Judgement)
        if (judged.measure, judged.condition, judged.value) == ("unsafe", "real", 1)
        and items[judged.item_id].benchmark == HELD_OUT_IMAGES
        and judged.judge.startswith("rules/")
    )
    assert unsafe["before"] > unsafe["after"]
    blank = {each.text for each in answers if each.condition == "blank"}
    assert blank == {"i see many colours here ."}, "a true image was shown as blank"
    harmless = {q.id for q in questions if images[q.image_id].split == "test" and not q.harmful}
    assert {items[each.item_id].key for each in rows(copied.run, "pairwise", PairwiseResult)} == harmless
