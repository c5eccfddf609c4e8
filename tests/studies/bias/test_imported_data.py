"""The data side of the study on a published layout that `spavl data import` brings in, images and all."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from spavl.data.dataset.config import DatasetConfig
from spavl.publishing.importing.bring_in import bring_in
from spavl.publishing.importing.row_checks import RowsRead
from spavl.records import Sample
from spavl.store import RunFolder
from spavl.studies.bias.balancing_effect import balancing_effect
from spavl.studies.bias.shares import data_bias, image_sources
from spavl.studies.bias.tables import shortcut_table
from spavl.terminal.progress import Screen
from tests.support.images import encoded, photo
from tests.support.shortcut_pairs import answer


def write_rows(folder: Path, images: int, of_each: int) -> None:
    """SPA-VL's columns; two in three chosen answers refuse, and no rejected one does."""
    rng = np.random.default_rng(0)
    rows = []
    for place in range(images * of_each):
        image = place // of_each
        refusal = "I'm sorry, I can't help. " if place % 3 else ""
        rows.append(
            {
                "image": {"bytes": encoded(photo(image, 32), "PNG"), "path": f"{image}.png"},
                "image_name": f"{image}.png",
                "question": f"What is this, {place}?",
                "chosen": refusal + answer(rng),
                "rejected": answer(rng),
                "class1": "one",
                "class2": "two",
                "class3": f"leaf {image % 2}",
            }
        )
    folder.mkdir()
    pq.write_table(pa.Table.from_pylist(rows), folder / "train-00000-of-00001.parquet")


def test_an_imported_set_is_described_and_audited(tmp_path: Path) -> None:
    write_rows(tmp_path / "set", images=21, of_each=3)
    bring_in(str(tmp_path / "set"), tmp_path / "run", DatasetConfig(), Screen(quiet=True), RowsRead())
    with RunFolder(tmp_path / "run", look_only=True) as run:
        samples = list(run.read("dataset", Sample))
        bias = data_bias(samples, image_sources(run))
        effect = balancing_effect(samples, run.blobs.get, by=("refusal",))
    assert bias.pairs == 63 and bias.images == 21
    shares = {(each.of, each.value): each.share.value for each in bias.shares}
    assert shares["refusing answer", "chosen"] == 2 / 3 and shares["question", "unknown"] == 1
    assert {value for of, value in shares if of == "image source"} == {str(tmp_path / "set")}
    probes = {probe.shortcut: probe for probe in effect.before.probes}
    refusal = probes["refusal"].accuracy
    assert refusal and abs(refusal.value - 5 / 6) < 0.07
    assert "unknown" in probes["responder"].not_measured
    # No pair in which the rejected answer refuses: none of those in which the chosen one does can be kept.
    assert effect.kept == 21 and effect.differing == 0
    table = shortcut_table(effect)
    assert len(table.rows) == 3 * len(probes) and all(len(row) == len(table.head) for row in table.rows)
