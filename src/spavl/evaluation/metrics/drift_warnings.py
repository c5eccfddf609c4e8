"""Warnings about judges and models that may have changed: names that a provider may move, and guards that drifted."""

from collections.abc import Iterator
from typing import NamedTuple

from spavl.errors import ConfigError
from spavl.evaluation.config import JUDGEMENTS, EvaluationConfig
from spavl.evaluation.model_names import models_by_name
from spavl.evaluation.results.file import FILE, read_results
from spavl.judges.gold_answers import JudgedGoldAnswers, JudgeDrift, drift
from spavl.judges.snapshots import moving_alias
from spavl.store import RunFolder


def aliases_of(config: EvaluationConfig) -> list[str]:
    """A warning for each model, guard and judge whose name its provider may move to other weights."""
    named = [*config.guard, *filter(None, [config.judge]), *models_by_name(config.models).values()]
    return list(filter(None, map(moving_alias, dict.fromkeys(named))))


def drift_warnings_of(run: RunFolder, judged: JudgedGoldAnswers | None) -> list[str]:
    """A warning for each guard whose agreement with the gold labels has changed."""
    return [_warning(each) for each in _drifts(run, judged) if each.drift.moved] if judged else []


class _GuardDrift(NamedTuple):
    guard: str
    # The folder of the earlier evaluation.
    since: str
    drift: JudgeDrift


def _warning(found: _GuardDrift) -> str:
    before, now, other = found.drift.before, found.drift.now, found.drift.judged_otherwise
    return (
        f"{found.guard} judges differently than in {found.since}: it agrees with {now.value:.0%} of the gold labels, "
        f"and agreed with {before.value:.0%}; {len(other)} of {found.drift.change.n} gold answers are judged otherwise"
    )


def _drifts(run: RunFolder, judged: JudgedGoldAnswers) -> Iterator[_GuardDrift]:
    """Each guard with the latest earlier evaluation beside this one in which it judged the same gold answers."""
    compared: set[str] = set()
    for folder, earlier in _earlier(run):
        if earlier.digest == judged.digest:
            for guard in (earlier.by_judge.keys() & judged.by_judge.keys()) - compared:
                compared.add(guard)
                yield _GuardDrift(guard, folder, drift(judged.gold, earlier.by_judge[guard], judged.by_judge[guard]))


def _earlier(run: RunFolder) -> Iterator[tuple[str, JudgedGoldAnswers]]:
    """The judged gold answers of earlier evaluations in the same parent folder, the latest one first."""
    judged = run.finished_at(JUDGEMENTS.stage)
    beside = {file: file.stat().st_mtime for file in run.path.resolve().parent.glob(f"*/{FILE}")}
    for file in sorted(beside, key=beside.__getitem__, reverse=True):
        if file.parent != run.path.resolve() and beside[file] < judged:
            try:
                found = read_results(file.parent).gold_answers
            except ConfigError:
                # It is another program's file, or of another format.
                continue
            if found:
                yield file.parent.name, found
