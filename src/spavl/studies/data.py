"""The data set of a study: its pairs, and what is known of their answers, their models and their leaves."""

import contextlib
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from spavl.data.dataset.config import DatasetConfig
from spavl.errors import ConfigError, RunInUse, StoreError
from spavl.publishing.importing.bring_in import bring_in, holds, origin_of
from spavl.records import Category, Label, PublishedFacts, Response, Sample, Verdict
from spavl.store import RunFolder
from spavl.store.files import RUN_FILE, folder_name
from spavl.studies.config import LeftOut
from spavl.studies.left_out import left_out_pairs
from spavl.terminal.progress import Screen

# Seconds between two looks at what another process is doing.
LOOK_AGAIN = 2.0


@dataclass(frozen=True)
class StudyData:
    """A data set in a run folder, which is only read."""

    run: RunFolder

    @property
    def folder(self) -> Path:
        return self.run.path

    @cached_property
    def content(self) -> str:
        """The hash of the rows."""
        manifest = self.run.manifest("dataset")
        if manifest is None:
            then = "type its spavl build again, which goes on where it was left"
            raise StoreError("this run has no finished data set", where=str(self.folder), then=then)
        return manifest.content

    @cached_property
    def pairs(self) -> Sequence[Sample]:
        return [each for each in self.run.read("dataset", Sample) if each.split == "train"]

    @cached_property
    def validation(self) -> Sequence[Sample]:
        return [each for each in self.run.read("dataset", Sample) if each.split == "validation"]

    @cached_property
    def left_out(self) -> Mapping[LeftOut, Sequence[Sample]]:
        """The pairs that the build has left out, by reason."""
        return left_out_pairs(self.run)

    @cached_property
    def categories(self) -> Mapping[str, Category]:
        """By leaf; empty if the data set has no taxonomy."""
        if not self.run.has_table("taxonomy", Category):
            return {}
        return {each.leaf: each for each in self.run.read("taxonomy", Category)}

    @cached_property
    def labels(self) -> Mapping[tuple[str, str], Label]:
        """By question and text of the answer: what a guard, or the data set itself, says of it."""
        if self.run.has_table("verdicts", Verdict):
            texts = {each.id: each.text for each in self.run.read("responses", Response)}
            verdicts = self.run.read("verdicts", Verdict)
            return {(each.question_id, texts[each.response_id]): each.label for each in verdicts}
        return dict(self._published_labels())

    def _published_labels(self) -> Iterator[tuple[tuple[str, str], Label]]:
        if not self.run.has_table("published", PublishedFacts):
            return
        samples = {each.id: each for each in self.run.read("dataset", Sample)}
        for facts in self.run.read("published", PublishedFacts):
            sample = samples.get(facts.sample_id)
            for text, label in (("chosen", facts.chosen_label), ("rejected", facts.rejected_label)):
                if sample is not None and label is not None:
                    yield (sample.question_id, getattr(sample, text)), label

    @cached_property
    def unsafe_rates(self) -> Mapping[str, float]:
        """By model that answered: the share of its judged answers that is unsafe."""
        judged, unsafe = Counter[str](), Counter[str]()
        for model, label in self._answers_of_models():
            judged[model] += label != "invalid"
            unsafe[model] += label == "unsafe"
        return {model: unsafe[model] / number for model, number in judged.items() if model and number}

    def _answers_of_models(self) -> Iterator[tuple[str, Label]]:
        if self.run.has_table("verdicts", Verdict):
            yield from ((each.model, each.label) for each in self.run.read("verdicts", Verdict))
            return
        for pair in self.pairs:
            for model, text in ((pair.chosen_model, pair.chosen), (pair.rejected_model, pair.rejected)):
                if label := self.labels.get((pair.question_id, text)):
                    yield model, label


@contextlib.contextmanager
def open_data(
    named: Mapping[str, str], study: Path, screen: Screen, spare: Path | None = None
) -> Iterator[Mapping[str, StudyData]]:
    """The data sets of a study by name. A run is read where it is; others are imported once, into that of the study, or
    into the spare folder, so that nothing is written into the study's."""
    with contextlib.ExitStack() as opened:
        found = {}
        for name, source in named.items():
            place = Path(source)
            if not (place / RUN_FILE).is_file():
                folder = f"data-{folder_name(name)}" if name else "data"
                place = study / folder
                if spare is not None and not holds(place, origin_of(source)):
                    place = spare / folder
                _import(source, place, screen)
            found[name] = StudyData(opened.enter_context(RunFolder(place, look_only=True)))
        yield found


def _import(source: str, place: Path, screen: Screen) -> None:
    """Import a data set once, in whichever process of the study comes first; the others wait for it."""
    while not holds(place, origin_of(source)):
        try:
            bring_in(source, place, DatasetConfig(), screen)
        except RunInUse:
            screen.say(f"another process imports {source}")
            time.sleep(LOOK_AGAIN)


def data_by_name(given: Sequence[str]) -> dict[str, str]:
    """What --data names: the first data set has the empty name, and NAME=FOLDER has its own."""
    found: dict[str, str] = {}
    for each in given:
        name, equals, source = each.partition("=")
        if not equals or Path(each).exists():
            name, source = "", each
        if name in found:
            then = "give the further ones a name, as in --data runs/pool self=runs/self-generated"
            raise ConfigError(
                f"two data sets have the name {name!r}" if name else "two data sets have no name",
                where="--data",
                then=then,
            )
        found[name] = source
    if "" not in found:
        then = "name a run or a folder of tables first, such as --data runs/demo"
        raise ConfigError("no data set is named that the arms have in common", where="--data", then=then)
    return found
