"""Makes the results of a study from the folders of its cells, and from nothing else."""

from collections.abc import Mapping, Sequence

from spavl.evaluation.results.file import read_results
from spavl.store import RunFolder
from spavl.studies.analysis.comparisons import differences_of, rates_of_arm
from spavl.studies.analysis.curves import curve_sentences, scale_curves
from spavl.studies.analysis.findings import failure_signs, findings_of, sentences_of, withheld_sentences
from spavl.studies.analysis.front import front_of, front_sentences
from spavl.studies.analysis.settings import settings_of
from spavl.studies.bias.of_study import bias_tables
from spavl.studies.data import data_by_name
from spavl.studies.grid.cells import Cell
from spavl.studies.measured import MeasuredCell, measured_cell
from spavl.studies.results import StudyResults
from spavl.studies.train_cell import EVALUATION, StudyPlace


def collect_results(name: str, place: StudyPlace, cells: Sequence[Cell]) -> StudyResults:
    measured = [measured_cell(place, cell) for cell in cells]
    arms = list({cell.arm.name: cell.arm for cell in cells}.values())
    rates = [each for arm in arms for each in rates_of_arm(arm, measured)]
    differences = differences_of(place, arms, measured)
    findings = list(findings_of(place.config, measured))
    curves = list(scale_curves(measured)) if place.config.analysis == "curve" else []
    front = front_of(arms, measured) if place.config.analysis == "front" else []
    return StudyResults(
        name=name,
        config=place.config,
        versions=_versions(place, measured),
        data=_data(place),
        guards=_guards(place, measured),
        arms=tuple(arm.name for arm in arms),
        settings=settings_of(arms, measured),
        cells=tuple(each.result for each in measured),
        rates=tuple(rates),
        differences=tuple(differences),
        findings=tuple(findings),
        signs=tuple(failure_signs(place, arms, measured)),
        front=tuple(front),
        curves=tuple(curves),
        tables=tuple(bias_tables(place, measured)) if place.config.analysis == "bias" else (),
        sentences=(
            *sentences_of(place.config, arms, rates, differences, findings),
            *withheld_sentences(arms, measured),
            *front_sentences(front),
            *(sentence for curve in curves for sentence in curve_sentences(curve)),
        ),
        seconds=round(sum(each.result.seconds for each in measured), 1),
    )


def _data(place: StudyPlace) -> Mapping[str, str]:
    """As it was typed: a set that was imported lies in the study's own folder, which says nothing of its origin."""
    typed = data_by_name(place.config.data)
    return {name or "data": f"{typed[name]} ({data.content[:12]})" for name, data in place.data.items()}


def _guards(place: StudyPlace, measured: Sequence[MeasuredCell]) -> Mapping[str, str]:
    done = next((each.cell for each in measured if each.result.state == "done"), None)
    return read_results(place.cell(done) / EVALUATION).guards if done else {}


def _versions(place: StudyPlace, measured: Sequence[MeasuredCell]) -> Mapping[str, str]:
    for each in measured:
        if each.result.state == "done":
            with RunFolder(place.cell(each.cell), look_only=True) as run:
                return run.versions()
    return {}
