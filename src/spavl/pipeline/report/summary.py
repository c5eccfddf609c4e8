"""summary.json: every figure of a run, taken from what its stages left behind and from nowhere else."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from spavl.evaluation.before_after.results import BeforeAfterResults
from spavl.judges.canaries.checks import STAGE as CANARIES
from spavl.judges.guards.custom_prompt import own_in, without_folder
from spavl.models.names import without_addresses
from spavl.store import Manifest, RunFolder


def summarize(
    run: RunFolder, stages: Sequence[Manifest], config: Mapping[str, Any], tested: BeforeAfterResults | None
) -> dict[str, Any]:
    notes = {manifest.stage: manifest.notes for manifest in stages}
    totals = run.ledger.totals()
    return {
        **(tested.as_json() if tested else {}),
        **({"canaries": notes["canaries"]["canaries"]} if "canaries" in notes else {}),
        **_dataset(notes.get("dataset", {})),
        "stages": {
            manifest.stage: {"rows": manifest.rows, "rejects": manifest.rejects, "seconds": manifest.seconds}
            for manifest in stages
        },
        "pictures": _images(config) if "selection" in notes else {},
        "descriptions": notes.get("captions", {}),
        "questions": notes.get("questions", {}),
        "question_verdicts": notes.get("question_verdicts", {}),
        **_rewarding(notes.get("training", {})),
        **_judging(notes.get("pairs", {}), notes.get("preferences", {})),
        **_nonsense(notes, tested),
        "calls": totals["calls"],
        "calls_made_again": totals["made_again"],
        "calls_by_stage": {
            stage: own
            for stage in (*(manifest.stage for manifest in stages), CANARIES)
            if (own := run.ledger.totals(stage))["calls"]
        },
        "usd": totals["usd"],
        "usd_lost_at_most": run.ledger.usd_lost(),
        "seconds": round(sum(manifest.seconds for manifest in stages), 1),
        "seed": config["seed"],
        "limit": config["limit"],
        "models": _models(config, notes),
        "own_prompts": dict(_own_prompts(config, notes, tested)),
        "versions": run.versions(),
    }


def _dataset(notes: Mapping[str, Any]) -> dict[str, Any]:
    """The data set in short; its card has it by class. One that an older spavl brought in has no figures."""
    if "figures" not in notes:
        return {}
    figures = notes["figures"]
    tests = {split: notes["files"][f"test/{split}"]["rows"] for split in ("harm", "help")}
    return {
        "dataset": {
            **figures["all"],
            "pairs_by_split": {split: counted["pairs"] for split, counted in figures["splits"].items()},
            "test_questions": tests,
            "contrast": figures["contrast"],
            "chosen_longer": figures["chosen_longer"],
        }
    }


def _images(config: Mapping[str, Any]) -> dict[str, Any]:
    """What was asked of an image, by the names of the settings."""
    asked = {
        f"{section}.{name}": value for section in ("downloads", "selection") for name, value in config[section].items()
    }
    return {name: value for name, value in asked.items() if not isinstance(value, dict)}


def _rewarding(training: Mapping[str, Any]) -> dict[str, Any]:
    """How many pairs a reward model puts in order, of those it was taught and of those it has never seen."""
    told = training if training.get("algorithm") == "reward" else training.get("reward_model", {})
    named = {name.removesuffix("_pairs_in_order"): value for name, value in told.items() if name.endswith("in_order")}
    return {"reward_model_in_order": named} if named else {}


def _judging(pairs: Mapping[str, Any], preferences: Mapping[str, Any]) -> dict[str, Any]:
    """Where the responders stand, and what shows whether their judge can be trusted."""
    told = {"tiers": pairs.get("tiers"), "judge": preferences.get("trust"), "agreement": preferences.get("agreement")}
    return {name: value for name, value in told.items() if value}


def _nonsense(notes: Mapping[str, Any], tested: BeforeAfterResults | None) -> dict[str, Any]:
    """Which judges failed answers whose verdict is plain, and how many of the answers judged are no proper ones."""
    found = [text for own in notes.values() for text in (own.get("canaries") or {}).get("failed", ())]
    failed = {"canaries_failed": list(dict.fromkeys(found))} if found else {}
    return failed | ({"degenerate": dict(tested.degenerate)} if tested else {})


def _models(config: Mapping[str, Any], notes: Mapping[str, Any]) -> Any:
    """The models by their names alone: where they were served says nothing of them, and is not published."""
    if "dataset" in notes and "preferences" not in notes:
        return without_addresses(_tested(config))
    asked = [responder["model"] for responder in notes.get("responses", {}).get("responders", ())]
    models = {
        "writer": config["questions"]["writer"],
        "responders": asked or list(config["responses"]["models"]),
        "guard": without_folder(config["verdicts"]["guard"]),
        "judge": without_folder(config["preferences"]["judge"]),
    }
    return without_addresses(models | _tested(config))


def _own_prompts(
    config: Mapping[str, Any], notes: Mapping[str, Any], tested: BeforeAfterResults | None
) -> Iterator[tuple[str, str]]:
    """The files of guards and judges that were asked by a prompt of the user's own, each with the hash of its text."""
    asked = {
        "verdicts.guard": notes.get("verdicts", {}).get("guard"),
        "preferences.judge": notes.get("preferences", {}).get("judge"),
        "preferences.second_judge": notes.get("preferences", {}).get("second_judge"),
        "evaluation.guard": tested and tested.guard,
        "evaluation.judge": tested and tested.judge,
    }
    for setting, name in asked.items():
        section, role = setting.split(".")
        if name and own_in((config.get(section) or {}).get(role) or ""):
            yield role if section != "evaluation" else setting, name.split("|")[1]


def _tested(config: Mapping[str, Any]) -> dict[str, Any]:
    """The models of the evaluation; of a data set that was brought in, spavl knows no others."""
    if evaluation := config.get("evaluation"):
        return {"before": evaluation["before"], "after": evaluation["after"] or "the checkpoint of this run"}
    return {}
