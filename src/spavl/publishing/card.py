"""The data card: a README.md for hubs, written only from what the run recorded."""

import json
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from jinja2 import Environment, StrictUndefined

from spavl import __version__
from spavl.data.dataset.config import SPEC, LeaksConfig
from spavl.data.dataset.shards import features_of
from spavl.publishing import plots
from spavl.publishing.finished import categories_of
from spavl.records import Category
from spavl.report import formatting
from spavl.store import Manifest, RunFolder
from spavl.store.files import write_text

# What stands in the card for the name that a hub will know the set by; `spavl data push` puts it in.
REPO = "OWNER/NAME"
_CONFIG_OF_FOLDER = {"data": "default"}
_SIZES = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M"))
_SHARES = (
    ("questions", "kind"),
    ("asking for", "harmful"),
    ("pairs teach", "contrast"),
    ("images' licenses", "license"),
)
_NEEDED = {"files", "figures", "license", "audited"}
_ROLES = ("writer", "responders", "guard", "judge")


def write_card(run: RunFolder, manifests: Sequence[Manifest], summary: Mapping[str, Any]) -> None:
    """Write README.md and its charts into the folder of the data set, if there is one.

    One that an older spavl brought in left fewer figures; it keeps the card it has until it is imported again.
    """
    folder, manifest = run.path / SPEC.stage, run.manifest(SPEC.stage)
    if manifest is None or not folder.is_dir() or not manifest.notes.keys() >= _NEEDED:
        return
    notes = {each.stage: each.notes for each in manifests} | {SPEC.stage: manifest.notes}
    drawn = plots.draw(notes)
    for plot in drawn:
        write_text(folder / "charts" / plot.file, plot.svg)
    figures: Any = manifest.notes["figures"]
    leaves = list(categories_of(run).values())
    files = list(_files(folder, manifest.notes))
    page = _template().render(
        head=_head(folder, files, str(manifest.notes["license"]), figures["all"]["pairs"]),
        name=run.path.resolve().name,
        repo=REPO,
        all=figures["all"],
        leaves=len(leaves),
        groups=len({leaf.group for leaf in leaves}),
        version=__version__,
        seed=summary.get("seed"),
        origin=manifest.origin,
        miniature=_is_miniature(summary["models"]),
        columns=len(_schema(folder / "rich").names),
        files=files,
        plots=drawn,
        classes=[_class_row(row) for row in figures["classes"]],
        leaks=manifest.notes.get("leaks_left_in"),
        words=figures["words"],
        longer=_share(figures["chosen_longer"]),
        contradictions=[{**row, "rate": _rate(row["contradicted"])} for row in _contradictions(notes)],
        shares=[(name, figures[key]) for name, key in _SHARES],
        funnel=[each for each in manifests if each.rows or each.rejects],
        models=list(_asked(summary)),
        limits=list(_limits(notes, leaves)),
    )
    write_text(folder / "README.md", page)


def _template() -> Any:
    environment = Environment(autoescape=False, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"count": formatting.count, "spaced": formatting.spaced, "cell": _cell}
    return environment.from_string((resources.files("spavl.publishing") / "card.md").read_text(encoding="utf-8"))


def _cell(text: object) -> str:
    """A name from outside, fit for a cell of a table."""
    return formatting.plain(str(text)).replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def _files(folder: Path, notes: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for name, counted in notes["files"].items():
        parent, split = name.split("/")
        yield {
            "folder": parent,
            "config": _CONFIG_OF_FOLDER.get(parent, parent),
            "split": split,
            "path": f"{parent}/{split}-*",
            "mb": f"{counted['bytes'] / 10**6:,.1f}",
            **counted,
        }


def _schema(folder: Path) -> Any:
    return pq.read_schema(min(folder.glob("*.parquet")))


def _head(folder: Path, files: Sequence[Mapping[str, Any]], license_: str, pairs: int) -> str:
    """The YAML that the hub and `load_dataset` read. Every scalar is written as JSON, which is YAML too."""
    size = next((name for limit, name in _SIZES if pairs < limit), "n>10M")
    lines = [
        f"license: {json.dumps(license_)}",
        "task_categories: [visual-question-answering, image-text-to-text]",
        "tags: [safety, preference, dpo, rlhf, vision-language, spavl]",
        f"size_categories: [{json.dumps(size)}]",
        "configs:",
    ]
    configs: dict[str, list[Mapping[str, Any]]] = {}
    for file in files:
        configs.setdefault(file["config"], []).append(file)
    for config, splits in configs.items():
        lines += [f"- config_name: {config}", "  data_files:"]
        for file in splits:
            lines += [f"  - split: {file['split']}", f"    path: {json.dumps(file['path'])}"]
    lines.append("dataset_info:")
    for config, splits in configs.items():
        lines += [f"- config_name: {config}", "  features:"]
        for name, feature in features_of(_schema(folder / splits[0]["folder"])).items():
            lines += [f"  - name: {name}", f"    {_yaml_feature(feature)}"]
        lines.append("  splits:")
        for file in splits:
            lines += [f"  - name: {file['split']}", f"    num_examples: {file['rows']}"]
            lines += [f"    num_bytes: {file['bytes']}"]
    return "\n".join(lines) + "\n"


def _yaml_feature(feature: Any) -> str:
    if isinstance(feature, list):
        return f"sequence: {feature[0]['dtype']}"
    return f"dtype: {feature.get('dtype', 'image')}"


def _class_row(row: Mapping[str, Any]) -> dict[str, Any]:
    return {**row, "chosen": _rate(row["chosen_unsafe"]), "rejected": _rate(row["rejected_unsafe"])}


def _rate(estimate: Mapping[str, Any]) -> str:
    if not estimate["n"]:
        return "–"
    return f"{estimate['value']:.1%} ({estimate['low']:.1%} to {estimate['high']:.1%}, n = {estimate['n']})"


def _share(counted: Mapping[str, int]) -> str:
    return f"{counted['pairs'] / counted['of']:.0%} (n = {counted['of']})" if counted["of"] else "–"


def _contradictions(notes: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What the guard says of the questions beside what they were meant to be; nothing in a set made elsewhere."""
    return list(notes.get("question_verdicts", {}).get("contradictions", ()))


def _meant(notes: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Who says which questions ask for harm, and who does not."""
    rows = _contradictions(notes)
    if not rows:
        return
    if not notes.get("questions", {}).get("modality"):
        yield "No checker was asked whether the questions ask for harm (`questions.checker`)."
    if all(row["not_asked"] == row["questions"] for row in rows):
        yield (
            "The guard judges answers only: which questions are harmful is what their writer was asked for, "
            "and no guard has said so."
        )
    for meant, other in (("harmful", "harmless"), ("harmless", "harmful")):
        own = [row for row in rows if row["meant"] == meant]
        if hits := sum(row[other] for row in own):
            asked = sum(row["harmful"] + row["harmless"] for row in own)
            yield (
                f"The guard calls {formatting.count(hits)} of {formatting.count(asked)} questions {other} that were "
                "meant to be "
                f"{meant}: they are held to be neither."
            )


def _asked(summary: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Who was asked in which role, and by which prompt of the user's own."""
    for role in _ROLES:
        if models := summary["models"].get(role):
            own = summary.get("own_prompts", {}).get(role)
            yield role, _named(models) + (f", asked by a prompt of its own, `{_cell(own)}`" if own else "")


def _named(models: object) -> str:
    names = models if isinstance(models, list | tuple) else [models]
    return ", ".join(f"`{name}`" for name in names)


def _is_miniature(models: Mapping[str, Any]) -> bool:
    return any("miniature" in _named(models.get(role)) for role in _ROLES)


def _limits(notes: Mapping[str, Mapping[str, Any]], leaves: Sequence[Category]) -> Iterator[str]:
    """What a user of this very set should know, as far as the run can tell."""
    own: Mapping[str, Any] = notes[SPEC.stage]
    figures = own["figures"]
    yield "Every label is a machine's; no person has checked these rows."
    failures = (text for each in notes.values() for text in (each.get("canaries") or {}).get("failed", ()))
    yield from (f"Beware: {failure}." for failure in dict.fromkeys(failures))
    yield from _meant(notes)
    yield from _judged(notes.get("preferences", {}))
    if not figures["all"]["chosen_unsafe"]["n"]:
        yield "No guard's verdict on the answers is known, so nor is how many of the chosen ones are unsafe."
    if unknown := figures["license"].get("unknown"):
        yield f"The license of the image is not known for {formatting.count(unknown)} of the pairs."
    if known := figures.get("url", {}).get("known"):
        yield f"Where the image was found (`candidate_url`) is known for {formatting.count(known)} of the pairs."
    if language := notes.get("questions", {}).get("unchecked_language"):
        yield f"Nothing checked that the questions are in {_cell(language)}."
    wanted = own["test_questions_wanted"]
    for split, name in (("harm", "HarmEval"), ("help", "HelpEval")):
        if (made := own["files"].get(f"test/{split}", {"rows": 0})["rows"]) < wanted:
            yield f"{name} has {made} questions where {wanted} were wanted: not every leaf has enough."
    if short := notes.get("selection", {}).get("shortfall"):
        yield f"{len(short)} of {len(leaves)} leaves have fewer images than were wanted."
    if left_in := own.get("leaks_left_in"):
        yield f"Images that stand in two splits, or nearly so: {formatting.count(left_in)} (`leaks.jsonl`)."
    if repeated := own.get("repeated_questions"):
        yield f"Questions asked in two splits, about different images: {formatting.count(repeated)} (`leaks.jsonl`)."
    if dropped := own.get("dropped_system_prompts"):
        rows, texts = formatting.count(dropped["rows"]), formatting.count(dropped["texts"])
        what = f"{rows} pairs came with a system prompt ({texts} texts)"
        yield f"{what}, which was left out: their answers were written under it, and are taught without it."
    if amid := own.get("images_amid"):
        rows = formatting.count(amid)
        yield f"In {rows} of the rows the image stood between the question's words; it stands before them."
    yield from _audited(own["audited"])
    if own.get("kept_unsafe_chosen"):
        yield "Pairs whose chosen answer the guard found unsafe were kept (`dataset.drop_unsafe_chosen = false`)."
    if own.get("kept_refusing_chosen"):
        what = "Pairs whose chosen answer refuses a harmless question were kept, and teach over-refusal"
        yield f"{what} (`dataset.drop_refusing_chosen = false`)."
    if guessed := [leaf.leaf for leaf in leaves if leaf.naming != "confirmed"]:
        yield f"The names of {len(guessed)} leaves were inferred: {', '.join(map(_cell, guessed))}."


def _judged(notes: Mapping[str, Any]) -> Iterator[str]:
    """How far the judge of the pairs can be trusted."""
    if trust := notes.get("trust"):
        yield f"The judge names the same winner in both orders in {_rate(trust['consistent'])} of the pairs."
        yield from (f"Beware: {warning}." for warning in trust["warnings"])
    if agreement := notes.get("agreement"):
        kappa = agreement["kappa"]
        yield f"A second judge agrees with it at a kappa of {kappa['value']:.2f} (n = {kappa['n']})."
    elif notes:
        yield "One judge alone compared the answers; no second one was asked whether it agrees."


def _audited(leaks: Mapping[str, Any]) -> Iterator[str]:
    """Where the search for leaks between splits was weaker than it is by default."""
    usual = LeaksConfig()
    nearer, above = leaks["near_image_bits"], leaks["question_similarity"]
    said = f"(`dataset.leaks.near_image_bits = {nearer}`)"
    if nearer == 0:
        yield (
            "Of images that stand in two splits only those of equal bytes were looked for: "
            f"one that was saved again, cropped or scaled would not have been found {said}."
        )
    elif nearer < usual.near_image_bits:
        yield f"Images of two splits count as one only if fewer than {nearer} of their hash's 64 bits differ {said}."
    said = f"(`dataset.leaks.question_similarity = {above}`)"
    if above >= 1:
        yield f"Whether questions are worded like ones of another split was not looked at {said}."
    elif above > usual.question_similarity:
        yield f"Questions count as asked in two splits only if they share more than {above:.0%} of their words {said}."
    if leaks["drop"]:
        yield "Rows whose image leaked into another split were left out; the test rows stayed (`leaks.jsonl`)."
