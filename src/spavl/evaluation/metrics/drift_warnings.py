"""Who may not be who they were: names that a provider may move, and guards whose word on the anchors has moved."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from spavl.evaluation.config import JUDGEMENTS, EvaluationConfig
from spavl.evaluation.model_names import models_by_name
from spavl.judges.gold_answers import JudgeDrift, drift
from spavl.judges.snapshots import moving_alias
from spavl.store import RunFolder


def aliases_of(config: EvaluationConfig) -> list[str]:
    """A line for each model, guard and judge whose name may be other weights tomorrow: no figure can be made again."""
    named = [*config.guard, *filter(None, [config.judge]), *models_by_name(config.models).values()]
    return list(filter(None, map(moving_alias, dict.fromkeys(named))))


def doubts_of(run: RunFolder, tried: Mapping[str, Any]) -> list[str]:
    """A line for each guard whose agreement with the anchors has moved."""
    return [_told(*each) for each in _drifts(run, tried) if each[2].moved]


def _told(guard: str, since: str, found: JudgeDrift) -> str:
    was, now = found.before.value, found.now.value
    return (
        f"{guard} is not who it was in {since}: it agrees with {now:.0%} of the anchors, and agreed with {was:.0%}; "
        f"{len(found.now_other)} of {found.change.n} are judged otherwise"
    )


def _drifts(run: RunFolder, tried: Mapping[str, Any]) -> Iterator[tuple[str, str, JudgeDrift]]:
    """Each guard with the last evaluation in the same place that had it judge the same anchors."""
    compared: set[str] = set()
    for folder, earlier in _earlier(run) if tried else ():
        if earlier.get("digest") == tried["digest"]:
            for guard in (earlier["labels"].keys() & tried["labels"].keys()) - compared:
                compared.add(guard)
                yield guard, folder, drift(tried["truth"], earlier["labels"][guard], tried["labels"][guard])


def _earlier(run: RunFolder) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The anchors of the evaluations beside this one that were done before it was judged, the last one first."""
    judged = run.finished_at(JUDGEMENTS.stage)
    beside = {file: file.stat().st_mtime for file in run.path.resolve().parent.glob("*/results.json")}
    for file in sorted(beside, key=beside.__getitem__, reverse=True):
        if file.parent != run.path.resolve() and beside[file] < judged:
            yield file.parent.name, _anchors_in(file)


def _anchors_in(file: Path) -> Mapping[str, Any]:
    """Nothing where the file is another program's."""
    try:
        results = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        return {}
    found = results.get("anchors") if isinstance(results, dict) else None
    return found if isinstance(found, dict) else {}
