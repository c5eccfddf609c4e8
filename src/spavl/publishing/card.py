"""The data card: a README.md for hubs, written only from what the run recorded."""

import json
from collections.abc import Iterator, Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq
from jinja2 import Environment, StrictUndefined

from spavl import __version__
from spavl.data.dataset.config import SPEC, LeaksConfig
from spavl.data.dataset.lineage import without_parents
from spavl.data.dataset.notes import DatasetCounts, DatasetNotes, LongerChosen
from spavl.data.dataset.shards import ParquetShards, yaml_features
from spavl.data.preferences.notes import PreferencesNotes
from spavl.data.verdicts.notes import ContradictionRow
from spavl.publishing.build_notes import BuildNotes, OwnPrompts, RunModels
from spavl.publishing.finished import categories_of
from spavl.publishing.plots import draw
from spavl.publishing.privacy import DONE, privacy_lines, privacy_rows
from spavl.records import Category
from spavl.report import formatting
from spavl.statistics import Estimate
from spavl.store import Manifest, RunFolder
from spavl.store.files import write_text

# Placeholder in the card for the name of the data set on a hub; `spavl data push` fills it in.
REPO = "OWNER/NAME"
_CONFIG_OF_FOLDER = {"data": "default"}
_SIZES = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M"))


class DataFile(NamedTuple):
    """A split of the data set, with its config and split as a hub names them."""

    folder: str
    config: str
    split: str
    written: ParquetShards

    @property
    def path(self) -> str:
        return f"{self.folder}/{self.split}-*"


class PublishedSet(NamedTuple):
    """The notes of the data set that a card requires."""

    files: Sequence[DataFile]
    counts: DatasetCounts
    license: str
    audited: LeaksConfig


def write_card(
    run: RunFolder, manifests: Sequence[Manifest], models: RunModels, own_prompts: OwnPrompts, seed: int | None
) -> None:
    """Write README.md and its charts into the folder of the data set, if there is one.

    A data set that an older spavl imported lacks some notes. It keeps its old card until it is imported again.
    """
    folder, manifest = run.path / SPEC.stage, run.manifest(SPEC.stage)
    if manifest is None or not folder.is_dir():
        return
    every = [*(each for each in manifests if each.stage != SPEC.stage), manifest]
    notes = BuildNotes.of(every)
    published = _published_set(notes.dataset)
    if published is None:
        return
    counts, files, leaves = published.counts, published.files, list(categories_of(run).values())
    plots = draw(counts, notes.preferences)
    for plot in plots:
        write_text(folder / "charts" / plot.file, plot.svg)
    privacy = privacy_rows(every)
    page = _template().render(
        head=_head(folder, published),
        name=run.path.resolve().name,
        repo=REPO,
        all=counts.total,
        leaves=len(leaves),
        groups=len({leaf.group for leaf in leaves}),
        version=__version__,
        seed=seed,
        origin=manifest.origin and without_parents(manifest.origin),
        miniature=_is_miniature(models),
        columns=len(_schema(folder / "rich").names),
        files=files,
        plots=plots,
        classes=counts.classes,
        leaks=notes.dataset.leaks_left_in,
        words=counts.words,
        longer=_share(counts.chosen_longer),
        contradictions=notes.question_verdicts.contradictions,
        shares=[
            ("questions", counts.kind),
            ("asking for", counts.harmful),
            ("chosen answers are better in", counts.contrast),
            ("images' licenses", counts.license),
        ],
        funnel=[each for each in manifests if each.rows or each.rejects],
        models=list(_models_by_role(models, own_prompts, notes.responses.samples or 1)),
        privacy=privacy,
        done=DONE,
        privacy_lines=list(privacy_lines(privacy)),
        limits=list(_limits(notes, published, leaves)),
    )
    write_text(folder / "README.md", page)


def _published_set(notes: DatasetNotes) -> PublishedSet | None:
    if notes.files is None or notes.counts is None or notes.license is None or notes.audited is None:
        return None
    files = [_data_file(name, written) for name, written in notes.files.items()]
    return PublishedSet(files, notes.counts, notes.license, notes.audited)


def _data_file(name: str, written: ParquetShards) -> DataFile:
    folder, split = name.split("/")
    return DataFile(folder, _CONFIG_OF_FOLDER.get(folder, folder), split, written)


@cache
def _template() -> Any:
    environment = Environment(autoescape=False, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"count": formatting.count, "spaced": formatting.name_in_words, "cell": _cell, "rate": _rate}
    return environment.from_string((resources.files("spavl.publishing") / "card.md").read_text(encoding="utf-8"))


def _cell(text: object) -> str:
    """An untrusted name, escaped for a cell of a table."""
    return formatting.plain(str(text)).replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def _schema(folder: Path) -> Any:
    return pq.read_schema(min(folder.glob("*.parquet")))


def _head(folder: Path, published: PublishedSet) -> str:
    """The YAML header that hubs and `load_dataset` read. Names and paths are written as JSON, which is valid YAML."""
    size = next((name for limit, name in _SIZES if published.counts.total.pairs < limit), "n>10M")
    lines = [
        f"license: {json.dumps(published.license)}",
        "task_categories: [visual-question-answering, image-text-to-text]",
        "tags: [safety, preference, dpo, rlhf, vision-language, spavl]",
        f"size_categories: [{json.dumps(size)}]",
        "configs:",
    ]
    configs: dict[str, list[DataFile]] = {}
    for file in published.files:
        configs.setdefault(file.config, []).append(file)
    for config, splits in configs.items():
        lines += [f"- config_name: {config}", "  data_files:"]
        for file in splits:
            lines += [f"  - split: {file.split}", f"    path: {json.dumps(file.path)}"]
    lines.append("dataset_info:")
    for config, splits in configs.items():
        lines += [f"- config_name: {config}", "  features:"]
        for name, feature in yaml_features(_schema(folder / splits[0].folder)):
            lines += [f"  - name: {name}", f"    {feature}"]
        lines.append("  splits:")
        for file in splits:
            lines += [f"  - name: {file.split}", f"    num_examples: {file.written.rows}"]
            lines += [f"    num_bytes: {file.written.bytes}"]
    return "\n".join(lines) + "\n"


def _rate(estimate: Estimate) -> str:
    if not estimate.n:
        return "–"
    return f"{estimate.value:.1%} ({estimate.low:.1%} to {estimate.high:.1%}, n = {estimate.n})"


def _share(longer: LongerChosen) -> str:
    return f"{longer.pairs / longer.of:.0%} (n = {longer.of})" if longer.of else "–"


def _intent_limits(notes: BuildNotes) -> Iterator[str]:
    """Who checked whether the questions ask for harm, and how often the guard contradicts the intended label."""
    rows = notes.question_verdicts.contradictions
    if not rows:
        return
    if not notes.questions.modality:
        yield "No checker was asked whether the questions ask for harm (`questions.checker`)."
    if all(row.not_asked == row.questions for row in rows):
        yield (
            "The guard judges answers only: which questions are harmful is taken from what their writer was asked for, "
            "and no guard has confirmed it."
        )
    harmful, harmless = ([row for row in rows if row.meant == meant] for meant in ("harmful", "harmless"))
    yield from _contradiction_limits(harmful, "harmful", "harmless", sum(row.harmless for row in harmful))
    yield from _contradiction_limits(harmless, "harmless", "harmful", sum(row.harmful for row in harmless))


def _contradiction_limits(rows: Sequence[ContradictionRow], meant: str, other: str, hits: int) -> Iterator[str]:
    if hits:
        asked = sum(row.harmful + row.harmless for row in rows)
        yield (
            f"The guard calls {formatting.count(hits)} of {formatting.count(asked)} questions {other} that were "
            f"meant to be {meant}: they count as neither."
        )


def _models_by_role(models: RunModels, own_prompts: OwnPrompts, samples: int) -> Iterator[tuple[str, str]]:
    """The models of each role, the user's own prompt if one was used, and the samples of a responder if several."""
    for role, names, own in (
        ("writer", _names(models.writer), None),
        ("responders", models.responders or (), None),
        ("guard", _names(models.guard), own_prompts.guard),
        ("judge", _names(models.judge), own_prompts.judge),
    ):
        if names:
            by = f", asked by a prompt of its own, `{_cell(own)}`" if own else ""
            often = f", each asked {samples} times for each question" if role == "responders" and samples > 1 else ""
            yield role, ", ".join(f"`{name}`" for name in names) + often + by


def _names(model: str | None) -> tuple[str, ...]:
    return (model,) if model else ()


def _is_miniature(models: RunModels) -> bool:
    named = (models.writer, *(models.responders or ()), models.guard, models.judge)
    return any("miniature" in name for name in named if name)


def _limits(notes: BuildNotes, published: PublishedSet, leaves: Sequence[Category]) -> Iterator[str]:
    """The limitations of this data set that can be derived from the run."""
    counts = published.counts
    yield "All labels were made by models or rules; no person has checked these rows."
    yield from (f"Warning: {failure}." for failure in notes.failed_canaries)
    yield from _intent_limits(notes)
    yield from _judge_limits(notes.preferences)
    if not counts.total.chosen_unsafe.n:
        yield "No guard's verdict on the answers is known; how many of the chosen ones are unsafe is unknown."
    if unknown := counts.license.get("unknown"):
        yield f"The license of the image is not known for {formatting.count(unknown)} of the pairs."
    if known := counts.url.get("known"):
        yield f"Where the image was found (`candidate_url`) is known for {formatting.count(known)} of the pairs."
    if language := notes.questions.unchecked_language:
        yield f"Nothing checked that the questions are in {_cell(language)}."
    yield from _short(notes, published, leaves)
    yield from _import_limits(notes.dataset)
    yield from _leak_search_limits(published.audited)
    if notes.dataset.kept_unsafe_chosen:
        yield "Pairs whose chosen answer the guard found unsafe were kept (`dataset.drop_unsafe_chosen = false`)."
    if notes.dataset.kept_refusing_chosen:
        what = "Pairs whose chosen answer refuses a harmless question were kept, and teach over-refusal"
        yield f"{what} (`dataset.drop_refusing_chosen = false`)."
    if guessed := [leaf.leaf for leaf in leaves if leaf.naming != "confirmed"]:
        yield f"The names of {len(guessed)} leaves were inferred: {', '.join(map(_cell, guessed))}."


def _short(notes: BuildNotes, published: PublishedSet, leaves: Sequence[Category]) -> Iterator[str]:
    """Where the data set has fewer questions or images than the settings asked for."""
    wanted = notes.dataset.test_questions_wanted
    made = {file.split: file.written.rows for file in published.files if file.config == "test"}
    for split, name in (("harm", "HarmEval"), ("help", "HelpEval")):
        if (rows := made.get(split, 0)) < wanted:
            yield f"{name} has {rows} questions where {wanted} were wanted: not every leaf has enough."
    if short := notes.selection.shortfall:
        yield f"{len(short)} of {len(leaves)} leaves have fewer images than were wanted."


def _import_limits(notes: DatasetNotes) -> Iterator[str]:
    """What two splits share, and what an import changed in its rows."""
    if left_in := notes.leaks_left_in:
        yield f"Images, or near duplicates, that are in two splits: {formatting.count(left_in)} (`leaks.jsonl`)."
    if repeated := notes.repeated_questions:
        yield f"Questions asked in two splits, about different images: {formatting.count(repeated)} (`leaks.jsonl`)."
    if dropped := notes.dropped_system_prompts:
        rows, texts = formatting.count(dropped.rows), formatting.count(dropped.texts)
        what = f"{rows} pairs came with a system prompt ({texts} texts)"
        yield f"{what}, which was left out: their answers were written with it, and are trained on without it."
    if amid := notes.images_amid:
        rows = formatting.count(amid)
        yield f"In {rows} of the rows the image was inside the question's text; here it is before the text."


def _judge_limits(notes: PreferencesNotes) -> Iterator[str]:
    """How reliable the judge of the pairs is: consistency, bias warnings, agreement with a second judge."""
    if notes.trust and notes.trust.consistent:
        consistent = _rate(notes.trust.consistent)
        yield f"The judge names the same winner in both orders in {consistent} of the pairs."
        yield from (f"Warning: {warning}." for warning in notes.trust.warnings)
    if notes.agreement:
        kappa = notes.agreement.kappa
        yield f"A second judge agrees with it at a kappa of {kappa.value:.2f} (n = {kappa.n})."
    elif notes.judge:
        yield "Only one judge compared the answers; its agreement with a second one was not measured."


def _leak_search_limits(leaks: LeaksConfig) -> Iterator[str]:
    """Where the search for leaks between splits was weaker than with the default settings."""
    usual = LeaksConfig()
    nearer, above = leaks.near_image_bits, leaks.question_similarity
    said = f"(`dataset.leaks.near_image_bits = {nearer}`)"
    if nearer == 0:
        yield (
            "Images in two splits were searched for by equal bytes only: "
            f"one that was saved again, cropped or scaled would not have been found {said}."
        )
    elif nearer < usual.near_image_bits:
        yield f"Images of two splits count as one only if fewer than {nearer} of their hash's 64 bits differ {said}."
    said = f"(`dataset.leaks.question_similarity = {above}`)"
    if above >= 1:
        yield f"Whether questions are worded like those of another split was not checked {said}."
    elif above > usual.question_similarity:
        yield f"Questions count as asked in two splits only if they share more than {above:.0%} of their words {said}."
    if leaks.drop:
        yield "Rows whose image leaked into another split were left out; the test rows stayed (`leaks.jsonl`)."
