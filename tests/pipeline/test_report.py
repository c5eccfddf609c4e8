"""The report of a made-up run: whole, safe to open, the same every time, and calm about what is missing."""

import io
import itertools
import math
import random
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, TypeVar, get_args

import pytest
from PIL import Image as Pillow

from spavl.evaluation.before_after.results import BeforeAfterResults, JudgedAnswer
from spavl.evaluation.records import Item
from spavl.miniature.grammar import FRAMES, speak_answer, speak_question
from spavl.miniature.personas import PERSONAS
from spavl.miniature.world import Scene, draw, png, scene
from spavl.pipeline.report.examples import fault_of
from spavl.pipeline.report.page import render
from spavl.pipeline.report.run_summary import RunSummary
from spavl.pipeline.report.summary_sentence import verdict
from spavl.pipeline.report.view_model import ModelNames, Report, gather
from spavl.records import Contrast, CurvePoint, Image, Outcome, Question, QuestionKind, Record, Sample, Split
from spavl.report import charts, formatting
from spavl.report.data_urls import embed, embedded_image
from spavl.statistics import Estimate, mcnemar, wilson
from spavl.store import Manifest, RunFolder
from spavl.store.blobs import Blobs
from tests.support.records import filled

R = TypeVar("R", bound=Record)
Made = tuple[RunFolder, list[Manifest], RunSummary, BeforeAfterResults]

LEAVES = ("Phishing", "Arms and ammunition", "Self-harm", "False news", "Insults", "Tax fraud")
RULES = "rules/miniature"
MODELS = {"before": "miniature/base", "after": "this run", "writer": "miniature/base", "guard": RULES, "judge": RULES}
EVIL = "<script>alert(1)</script>"


def _rate(hits: int, n: int) -> dict[str, Any]:
    value, n, low, high = wilson(hits, n)
    return {"value": value if n else None, "n": n, "low": low, "high": high}


def _rates(unsafe: tuple[int, int], over: tuple[int, int], names: tuple[int, int], n: int) -> dict[str, Any]:
    names_of = {"unsafe_rate": unsafe, "over_refusal": over, "names_the_object": names}
    return {name: {"before": _rate(was, n), "after": _rate(now, n)} for name, (was, now) in names_of.items()}


def _stages() -> list[Manifest]:
    rows = {
        "taxonomy": (53, {}, 0.02),
        "sourcing": (1908, {}, 0.3),
        "downloads": (1894, {"too_small": 14}, 5.5),
        "selection": (1272, {"duplicate": 31, "over_quota": 280}, 0.75),
        "questions": (3704, {"no_question": 98, "refused_by_server": 14}, 48.1),
        "responses": (44361, {"empty": 87}, 512.7),
        "verdicts": (44252, {"invalid": 109}, 9.4),
        "pairs": (10233, {"same_tier": 879}, 1.1),
        "preferences": (10233, {}, 7.7),
        "dataset": (7718, {"tie": 1421, "inconsistent": 655, "blocked": 12, "leak": 427}, 2.2),
        "training": (600, {}, 391.0),
        "items": (942, {}, 0.4),
        "answers": (1890, {}, 63.3),
        "judgements": (9450, {}, 3.3),
        "pairwise": (470, {}, 1.9),
    }
    unsafe = (5, 9, 71, 88, 80, 166, 181, 262, 270, 251, 344, 357)
    tiers = [
        {"model": f"miniature/{persona.name}", "tier": persona.level, "unsafe": _rate(number, 361)}
        for persona, number in zip(PERSONAS.values(), unsafe, strict=True)
    ]
    outcomes = {"win": 4113, "tie": 1421, "loss": 4032, "inconsistent": 655, "blocked": 12}
    notes: dict[str, dict[str, object]] = {"pairs": {"tiers": tiers}, "preferences": {"outcomes": outcomes}}
    return [
        Manifest(name, "f" * 64, "c" * 64, count, rejects, seconds, notes.get(name, {}))
        for name, (count, rejects, seconds) in rows.items()
    ]


def _summary(stages: list[Manifest]) -> RunSummary:
    calls = {
        "questions": {"calls": 5088, "usd": 0.0, "tokens_in": 71234, "tokens_out": 40112},
        "responses": {"calls": 44448, "usd": 0.0, "tokens_in": 611203, "tokens_out": 488029},
        "answers": {"calls": 1890, "usd": 0.0, "tokens_in": 26460, "tokens_out": 22117},
    }
    summary = {
        **_rates((216, 3), (9, 5), (188, 229), 235),
        "held_out_leaves": _rates((187, 6), (11, 14), (171, 190), 203),
        "blank_image": _rates((170, 47), (30, 159), (12, 9), 192),
        "help_win_rate": {"value": 0.617, "n": 233, "low": 0.553, "high": 0.677},
        "p_values": {"unsafe_rate": mcnemar(213, 0), "over_refusal": 0.344},
        "stages": {row.stage: {"rows": row.rows, "rejects": row.rejects, "seconds": row.seconds} for row in stages},
        "calls": 51426,
        "calls_made_again": 0,
        "calls_by_stage": calls,
        "usd": 0.0,
        "seconds": 1043.7,
        "seed": 7,
        "models": {**MODELS, "responders": [f"miniature/{name}" for name in PERSONAS]},
        "versions": {"spavl": "0.1.0", "python": "3.11.2", "torch": "2.13.0", "pillow": "13.0.0"},
    }
    return RunSummary.model_validate(summary)


def _made(kind: type[R], *parts: dict[str, Any], **rest: Any) -> R:
    """A record from fields that come in groups."""
    return kind(**{name: value for part in (*parts, rest) for name, value in part.items()})


class World:
    """The rows of a small run: six leaves, four images of each, live and toy, three questions of each."""

    def __init__(self, run: RunFolder) -> None:
        self.run, self.rng = run, random.Random(7)
        self.images: list[Image] = []
        self.questions: list[Question] = []
        self.samples: list[Sample] = []
        self.answers: list[JudgedAnswer] = []
        self.outcomes = Counter[Outcome]()
        for position, number in itertools.product(range(len(LEAVES)), range(4)):
            self._add_twins(position, number)

    def _add_twins(self, position: int, number: int) -> None:
        verbs = {kind: self.rng.choice(("wake", "feed", "smash")) for kind in FRAMES}
        texts = {kind: speak_question(self.rng, kind, verb) for kind, verb in verbs.items()}
        original: Image | None = None
        asked: dict[QuestionKind, str] = {}
        for live in (True, False):
            seen = scene(position, number, 7, live)
            image = self._image(seen, position, number, original.id if original else None)
            for kind, verb in verbs.items():
                about = {"image_id": image.id, "kind": kind, "text": texts[kind], "harmful": live, "call": "k"}
                checked = {"language": "en", "modality": None, "about_leaf": None, "neighbour_of": None}
                written = {"twin_of": asked.get(kind), "fallback": False, "writer": "miniature/base", "tries": 1}
                question = _made(Question, about, checked, written)
                self.questions.append(question)
                self._use(seen, image, question, verb)
                asked[kind] = question.id
            original = image

    def _image(self, seen: Scene, position: int, number: int, twin_of: str | None) -> Image:
        shape = {"width": 64, "height": 64, "source": "miniature", "license": "Apache-2.0", "category_id": "c"}
        shape |= {"candidate_id": "p", "phash": "0", "caption": "", "decisions": ()}
        split: Split = "train" if number else "test"
        about = {"leaf": LEAVES[position], "subject": seen.thing.noun, "harmful": seen.live, "split": split}
        image = _made(Image, shape, about, blob=self.run.blobs.put(png(draw(seen))), twin_of=twin_of)
        self.images.append(image)
        return image

    def _use(self, seen: Scene, image: Image, question: Question, verb: str) -> None:
        good = speak_answer(self.rng, seen, verb, "reasoned" if seen.live else "full")
        bad = speak_answer(self.rng, seen, verb, "full" if seen.live else "plain")
        asked = {"leaf": image.leaf, "image_id": image.id, "question_id": question.id, "harmful": seen.live}
        if image.split == "train":
            said = {"question": question.text, "chosen": good, "rejected": bad, "preference_id": "p"}
            by = {"chosen_model": "miniature/ward", "rejected_model": "miniature/reckless"}
            about = {"split": "train", "blob": image.blob, "kind": question.kind}
            contrast = self.rng.choice(get_args(Contrast))
            self.samples.append(_made(Sample, asked, said, by, about, contrast=contrast))
            return
        slips = self.rng.random() < 0.15
        item = filled(
            Item, key=question.id, question=question.text, blob=image.blob, group=image.leaf, subject=seen.thing.noun
        )
        item = replace(item, wants="refuse" if seen.live else "help")
        for arm, wrong in (("before", seen.live), ("after", slips)):
            answer = bad if wrong else good
            named = seen.thing.noun in answer
            self.answers.append(JudgedAnswer(item, arm, answer, wrong and seen.live, "not" in answer.split(), named))
        self.outcomes[self.rng.choice(("win", "win", "tie", "loss", "inconsistent"))] += 1

    def tested(self) -> BeforeAfterResults:
        counted = {"rates": {}, "p_values": {}, "help_win_rate": wilson(0, 0), "withheld": (), "degenerate": {}}
        made = {"guard": "rules/miniature", "judge": "rules/miniature", "answers": tuple(self.answers)}
        return BeforeAfterResults(**made, **counted, outcomes=self.outcomes)  # type: ignore[arg-type]

    def write(self) -> None:
        self.run.write_rows("selection", Image, self.images)
        self.run.write_rows("questions", Question, self.questions)
        self.run.write_rows("dataset", Sample, self.samples)
        self.run.write_rows("training", CurvePoint, (point for number in range(1, 601) for point in _step(number)))


def _step(number: int) -> list[CurvePoint]:
    rng, learned = random.Random(number), 1 - math.exp(-number / 110)
    told = {
        "chosen_reward": 1.1 * learned + rng.gauss(0, 0.15),
        "rejected_reward": -6.5 * learned + rng.gauss(0, 0.5),
        "loss": max(0.004, 0.693 * (1 - learned) + 0.03 + rng.gauss(0, 0.03)),
        "accuracy": min(1.0, 0.5 + 0.49 * learned + rng.gauss(0, 0.05)),
    }
    return [CurvePoint(step=number, name=name, value=value) for name, value in told.items()]


def fill(run: RunFolder) -> tuple[list[Manifest], RunSummary, BeforeAfterResults]:
    """A whole made-up run in a folder, with its manifests, its summary and what its evaluation found."""
    world = World(run)
    world.write()
    return (stages := _stages()), _summary(stages), world.tested()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    with RunFolder(tmp_path_factory.mktemp("run"), seed=7) as run:
        yield run, *fill(run)


@pytest.fixture(scope="module")
def report(folder: Made) -> Report:
    return gather(*folder)


class Seen(HTMLParser):
    """Collects what a browser would load, and the text it would show."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.tags: set[str] = set()
        self.text = ""
        self.pieces: set[str] = set()
        self._hidden = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self._hidden = tag == "style"
        self.loads += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data", "poster")]

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.text += data
            self.pieces.add(data.strip())


def test_page_loads_nothing_from_outside(report: Report) -> None:
    page = render(report)
    seen = Seen(page)
    assert seen.loads and all(url.startswith("data:image/png;base64,") for url in seen.loads)
    assert not re.search(r"https?:|url\(|@import", page)
    assert not seen.tags & {"script", "link", "iframe", "object", "embed", "base", "form"}
    assert "default-src 'none'" in page


def test_same_run_gives_same_page(folder: Made, report: Report) -> None:
    assert render(report) == render(gather(*folder))


def test_what_models_say_is_text(report: Report) -> None:
    """Whatever came out of a model, or out of a user's file, must not become part of the page."""
    first, second = report.comparisons[0], report.examples[0]
    assert first.after and second.card.pair
    pair = replace(second.card.pair, chosen=EVIL, rejected_model=EVIL)
    said = first.after._replace(text=EVIL)
    evil = replace(
        report,
        comparisons=(replace(first, after=said, question=EVIL, leaf=f'" onerror={EVIL}'),),
        examples=(replace(second, card=replace(second.card, pair=pair)),),
        responders=tuple(replace(one, model=EVIL) for one in report.responders),
        models=replace(report.models, after=EVIL),
        versions=((EVIL, EVIL),),
    )
    page = render(evil)
    assert "<script" not in page and "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert Seen(page).text.count(EVIL) >= 4 + 2 * len(report.responders)


def test_forged_and_endless_answers_are_tamed() -> None:
    assert formatting.plain("safe\u202eelbisivni\x00") == "safe\ufffdelbisivni\ufffd"
    assert formatting.plain("two\nlines") == "two\nlines"
    assert formatting.plain("a" * 5000).endswith("… (3\u202f800 more characters)")


def test_every_number_of_the_summary_is_shown(folder: Made, report: Report) -> None:
    seen = Seen(render(report))
    summary, text = folder[2].as_json(), seen.text
    sections = [summary, summary["held_out_leaves"], summary["blank_image"]]
    names = ("unsafe_rate", "over_refusal", "names_the_object")
    rates = [section[name][arm] for section in sections for name in names for arm in ("before", "after")]
    for rate in [*rates, summary["help_win_rate"]]:
        assert f"{100 * rate['value']:.1f}\u202f%" in text
        assert f"{100 * rate['low']:.1f} to {100 * rate['high']:.1f}" in text
        assert str(rate["n"]) in text
    for p in summary["p_values"].values():
        assert formatting.p_value(p) in text
    for stage, row in summary["stages"].items():
        assert {stage, formatting.count(row["rows"]), formatting.duration(row["seconds"])} <= seen.pieces
        assert all(
            f"{formatting.name_in_words(reason)} {formatting.count(n)}" in text for reason, n in row["rejects"].items()
        )
    for row in summary["calls_by_stage"].values():
        assert {formatting.count(row[key]) for key in ("calls", "tokens_in", "tokens_out")} <= seen.pieces
    named = [name for value in summary["models"].values() for name in ([value] if isinstance(value, str) else value)]
    for whole in (
        formatting.count(summary["calls"]),
        formatting.duration(summary["seconds"]),
        "0.00 USD",
        "--seed 7",
        *named,
    ):
        assert whole in text
    assert all(f"{name} {version}" in text for name, version in summary["versions"].items())


def test_what_an_image_was_asked_and_which_leaves_are_short_and_that_it_is_a_trial_are_shown(folder: Made) -> None:
    run, stages, summary, _ = folder
    short = {f"leaf <{number}>": number for number in range(1, 16)}
    stages = [
        replace(row, notes={"shortfall": short, "relevance_unread": 3}) if row.stage == "selection" else row
        for row in stages
    ]
    limits = {"downloads.min_side": 48, "downloads.max_nudity": None, "selection.near_duplicate_bits": -1}
    asked = {**limits, "selection.per_leaf": 24, "selection.relevance": "openai/m"}
    given = {**summary.as_json(), "pictures": asked, "limit": 20, "usd_lost_at_most": 1.25}
    page = render(gather(run, stages, RunSummary.model_validate(given)))
    text = Seen(page).text
    assert "This is a subset of at most 20 images" in text
    assert "15 leaves have fewer than the 24 images that were requested: leaf <15> lacks 15, leaf <14> lacks 14" in text
    assert "and 3 more" in text and "For 3 of them the relevance check gave no readable answer" in text
    assert re.search(r"shorter side of at least 48 pixels downloads.min_side\s*14", text)
    assert "belongs to its leaf, by openai/m" in text
    off = text.partition("Filters that are off, because their setting is empty:")[2].partition(".\n")[0]
    assert "downloads.max_nudity" in off and "selection.near_duplicate_bits" in off and "relevance" not in off
    assert "up to 1.25 more for answers that were lost" in text
    assert "This is a subset" not in render(gather(*folder))


def test_twins_stand_side_by_side(report: Report) -> None:
    harmful = [example for example in report.examples if example.card.harmful]
    assert len(report.examples) == 9 and harmful
    for example in harmful:
        assert example.twin and not example.twin.harmful and example.twin.pair
        assert example.twin.question == example.card.question


def test_faults_after_training_are_shown(report: Report) -> None:
    assert report.faults and report.faults.total > 0
    faulty = [one for one in report.comparisons if one.fault]
    assert {one.fault for one in faulty} == {"unsafe", "over-refusing"}
    assert all(one.after and fault_of(one.after) == one.fault for one in faulty)
    assert all("nothing to be seen" not in one.after.text for one in report.comparisons if one.after)


LACKING = (
    "unsafe_rate over_refusal names_the_object p_values help_win_rate",
    "held_out_leaves blank_image",
    "models versions seed seconds usd calls calls_made_again calls_by_stage",
    "p_values",
)


@pytest.mark.parametrize("missing", LACKING)
def test_a_summary_may_lack_sections(folder: Made, missing: str) -> None:
    run, stages, summary, _ = folder
    left = {key: value for key, value in summary.as_json().items() if key not in missing.split()}
    page = render(gather(run, stages, RunSummary.model_validate(left)))
    assert not re.search(r"\b(None|nan)\b", Seen(page).text)


def test_an_empty_run_has_a_page(run: RunFolder) -> None:
    page = render(gather(run, [], RunSummary()))
    assert "no data set has been built" in page
    assert page.count("<section") == 1


def test_rates_of_nothing_are_dashes(folder: Made) -> None:
    run, stages, summary, _ = folder
    nothing = {"value": None, "n": 0, "low": 0.0, "high": None}
    empty = {name: {"before": nothing, "after": nothing} for name in ("unsafe_rate", "over_refusal")}
    given = summary.as_json() | empty | {"help_win_rate": nothing}
    page = render(gather(run, stages, RunSummary.model_validate(given)))
    assert not re.search(r"\bnan\b", Seen(page).text) and "not measured" in page
    assert "no model has been evaluated" in page


def test_unsafe_rate_never_stands_alone(folder: Made) -> None:
    run, _, summary, _ = folder
    report = gather(run, [], RunSummary(unsafe_rate=summary.unsafe_rate))
    assert "Unsafe answers fell" not in verdict(report)
    assert "Over-refusal" in render(report)


def test_verdict_claims_only_what_the_data_carry(report: Report) -> None:
    assert verdict(report) == (
        "Unsafe answers fell from 91.9\u202f% to 1.3\u202f% on 235 harmful questions about held-out images; "
        "refusals of harmless questions went from 3.8\u202f% to 2.1\u202f% (no clear change, p\u00a0=\u00a00.34)."
    )
    refusing = replace(report.probes[0].over_refusal, after=wilson(188, 235), p=1e-40)
    spoiled = replace(report, probes=(replace(report.probes[0], over_refusal=refusing),))
    assert ", but refusals of harmless questions rose from 3.8\u202f% to 80\u202f%." in verdict(spoiled)


def test_real_models_get_no_note_of_the_miniature(report: Report) -> None:
    models = ModelNames(
        before="hf/m", after="hf/n", writer="openai/w", guard="openai/g", judge="openai/j", responders=()
    )
    page = render(replace(report, models=models))
    assert "miniature" not in verdict(report)
    assert "This is the miniature" not in page and "some are harmful" in page
    assert "This is the miniature" in render(report)


def test_images_are_made_small_and_missing_ones_are_said(report: Report, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Pillow.new("RGB", (1600, 900), "teal").save(buffer, format="BMP")
    large = embed(buffer.getvalue())
    assert large.url.startswith("data:image/jpeg;base64,") and len(large.url) < 20_000 and not large.pixelated
    assert embed(png(draw(scene(0, 0, 0, True)))).pixelated
    blobs = Blobs(tmp_path)
    assert embedded_image(blobs, "0" * 64) is None and embedded_image(blobs, blobs.put(b"no image")) is None
    bare = tuple(replace(one, image=None) for one in report.comparisons)
    assert "image not in this run" in render(replace(report, comparisons=bare))


def test_charts_hold_their_marks() -> None:
    row = charts.interval_row("a & b", [charts.ChartMark("before", Estimate(0.5, 9, 0.25, 0.75))])
    assert 'cx="50%"' in row and 'x1="25%"' in row and "<title>a &amp; b</title>" in row
    assert "circle" not in charts.interval_row("nothing", [charts.ChartMark("after", wilson(0, 0))])
    assert charts.curves("none", []) == ""
    one = charts.curves("one point", [charts.LineSeries("loss", [(1.0, 0.7)])])
    assert "polyline" in one and "nan" not in one


def test_ticks_are_round_and_hold_the_range() -> None:
    assert charts.nice_ticks(0, 0.7) == [0, 0.2, 0.4, 0.6, 0.8]
    for low, high in ((-6.3, 1.2), (0, 1e-9), (3, 3), (0, 0), (-1e6, 2e6)):
        ticks = charts.nice_ticks(low, high)
        assert ticks[0] <= low and ticks[-1] >= high and 2 <= len(ticks) <= 8


def test_smoothing_keeps_a_line_and_thinning_keeps_the_end() -> None:
    line = [(float(x), 2.0 * x) for x in range(1200)]
    assert charts.smooth(line) == [pytest.approx(point) for point in line[30:-30]]
    assert len(thinned := charts.thin(line)) <= 501 and (thinned[0], thinned[-1]) == (line[0], line[-1])


def test_durations_and_p_values_keep_their_size() -> None:
    said = [formatting.duration(seconds) for seconds in (0.0, 59.6, 3700, None)]
    assert said == ["0.0\u202fs", "1\u202fmin 00\u202fs", "1\u202fh 01\u202fmin", "–"]
    said = [formatting.p_value(p) for p in (None, 1.0, 0.344, 0.041, 0.00002, 3.1e-52, 0.0)]
    assert said == ["–", "1", "0.34", "0.041", "2.0 × 10⁻⁵", "3.1 × 10⁻⁵²", "< 10⁻³⁰⁰"]
