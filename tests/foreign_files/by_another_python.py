"""Run by the interpreter of another venv: writes rows with its own version of `datasets`.

python by_another_python.py FOLDER NAME LAYOUT ROWS.json

Each row of ROWS.json has its texts and `file`, the path of its image.
"""

import json
import sys
from pathlib import Path

import datasets

TEXTS = ("question", "chosen", "rejected", "caption")


def main(folder, name, layout, rows):
    rows = json.loads(Path(rows).read_text(encoding="utf-8"))
    several = layout == "parquet of lists"
    image = datasets.Sequence(datasets.Image()) if several else datasets.Image()
    kinds = {text: datasets.Value("string") for text in TEXTS}
    kinds.update(id=datasets.Value("int64"), kind=datasets.ClassLabel(names=["plain", "other"]), image=image)
    cells = {text: [row[text] for row in rows] for text in TEXTS}
    cells.update(id=[row["id"] for row in rows], kind=[row["id"] % 2 for row in rows])
    cells["image"] = [[row["file"]] if several else row["file"] for row in rows]
    made = datasets.Dataset.from_dict(cells, features=datasets.Features(kinds))
    if layout == "saved":
        datasets.DatasetDict({name: made}).save_to_disk(folder)
    elif layout == "saved alone":
        made.save_to_disk(folder)
    elif layout == "cache":
        made.map(lambda row: row, cache_file_name=str(Path(folder) / (name + "-cache.arrow")))
    else:
        made.to_parquet(str(Path(folder) / (name + "-00000-of-00001.parquet")))


if __name__ == "__main__":
    main(*sys.argv[1:])
