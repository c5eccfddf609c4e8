"""Counts the contents of a data set while its rows are written."""

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from spavl.data.dataset.notes import ClassCounts, DatasetCounts, LongerChosen, PairCounts, SplitCounts
from spavl.records import Category
from spavl.statistics import rate_by_cluster

_SIDES = ("chosen", "rejected")
_QUANTILES = (0.1, 0.5, 0.9)


class DatasetTally:
    """Counts the rich rows that pass through `watch`."""

    def __init__(self, leaves: Mapping[str, Category]) -> None:
        self._leaves = leaves
        self._splits: dict[str, _SplitTally] = {}
        self._groups: dict[tuple[str, str], _GroupTally] = {}
        self._whole = _GroupTally()
        self._shares = {name: Counter[str]() for name in ("kind", "contrast", "harmful", "license", "url")}
        self._models = {side: Counter[str]() for side in _SIDES}
        self._words = {name: Counter[int]() for name in ("question", *_SIDES)}
        self._longer = Counter[bool]()

    def watch(self, rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        for row in rows:
            self._see(row)
            yield row

    def _see(self, row: dict[str, Any]) -> None:
        split = self._splits.setdefault(row["split"], _SplitTally())
        split.pairs += 1
        split.images.add(row["image_id"])
        split.questions.add(row["question_id"])
        category = self._leaves[row["leaf"]]
        for group in (self._whole, self._groups.setdefault((category.domain, category.group), _GroupTally())):
            group.see(row)
        for name in ("kind", "contrast"):
            self._shares[name][row[name]] += 1
        self._shares["harmful"][{True: "harmful", False: "harmless", None: "unknown"}[row["harmful"]]] += 1
        self._shares["license"][row.get("image_license") or "unknown"] += 1
        self._shares["url"]["known" if row.get("candidate_url") else "unknown"] += 1
        for side in _SIDES:
            self._models[side][row[f"{side}_model"]] += 1
        words = {name: len(row[name].split()) for name in self._words}
        for name, count in words.items():
            self._words[name][count] += 1
        if words["chosen"] != words["rejected"]:
            self._longer[words["chosen"] > words["rejected"]] += 1

    def counts(self) -> DatasetCounts:
        shares = {name: dict(counted.most_common()) for name, counted in self._shares.items()}
        return DatasetCounts(
            splits={
                name: SplitCounts(pairs=split.pairs, images=len(split.images), questions=len(split.questions))
                for name, split in self._splits.items()
            },
            total=self._whole.counts(),
            classes=tuple(
                ClassCounts(domain=domain, name=name, **dict(group.counts()))
                for (domain, name), group in self._groups.items()
            ),
            kind=shares["kind"],
            contrast=shares["contrast"],
            harmful=shares["harmful"],
            license=shares["license"],
            url=shares["url"],
            models={side: dict(counted.most_common()) for side, counted in self._models.items()},
            words={name: _quantiles(counted) for name, counted in self._words.items()},
            chosen_longer=LongerChosen(pairs=self._longer[True], of=self._longer.total()),
        )


@dataclass(slots=True)
class _SplitTally:
    pairs: int = 0
    images: set[str] = field(default_factory=set)
    questions: set[str] = field(default_factory=set)


class _GroupTally:
    """The pairs of one class, with the guard's labels of their answers; compact, as there may be millions of pairs."""

    def __init__(self) -> None:
        self._pairs = 0
        self._images: dict[str, int] = {}
        self._unsafe = {side: (array("b"), array("l")) for side in _SIDES}

    def see(self, row: Mapping[str, Any]) -> None:
        self._pairs += 1
        image = self._images.setdefault(row["image_id"], len(self._images))
        for side, (hits, images) in self._unsafe.items():
            label = row.get(f"{side}_verdict_label") or row.get(f"published_{side}_label")
            if label in ("safe", "unsafe"):
                hits.append(label == "unsafe")
                images.append(image)

    def counts(self) -> PairCounts:
        chosen, rejected = (
            rate_by_cluster([bool(hit) for hit in hits], images) for hits, images in self._unsafe.values()
        )
        return PairCounts(pairs=self._pairs, images=len(self._images), chosen_unsafe=chosen, rejected_unsafe=rejected)


def _quantiles(counted: Counter[int]) -> tuple[int, ...]:
    """The 10th, 50th and 90th percentile of the counted values."""
    total, found, passed = counted.total(), list[int](), 0
    wanted = list(_QUANTILES)
    for value in sorted(counted):
        passed += counted[value]
        while wanted and passed >= wanted[0] * total:
            found.append(value)
            wanted.pop(0)
    return tuple(found)
