"""items: the files of benchmarks -> Item rows; their images are copied into the evaluation."""

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

from spavl.errors import ConfigError
from spavl.evaluation.benchmarks import registry
from spavl.evaluation.benchmarks.types import Benchmark, BenchmarkItem
from spavl.evaluation.config import ITEMS, ItemsConfig
from spavl.evaluation.notes import ItemsNotes
from spavl.evaluation.records import Item
from spavl.records import Reject, content_hash
from spavl.stages.context import StageContext
from spavl.stages.finishing import fingerprint_of, seal
from spavl.store import Manifest, RunFolder


class BenchmarkFolder(NamedTuple):
    """A benchmark, and the folder in which its data are."""

    benchmark: Benchmark
    folder: Path


async def run(context: StageContext[ItemsConfig]) -> Manifest:
    began = time.monotonic()
    placed = placed_benchmarks(context.settings)
    context.run.forget(ITEMS.stage)
    notes = ItemsNotes(benchmarks={each.benchmark.name: each.benchmark.does for each in placed})
    context.run.write_rows(ITEMS.stage, Item, _items(context, placed))
    context.run.write_rows(ITEMS.stage, Reject, [])
    return seal(context, ITEMS, fingerprint_of(context, ITEMS), {}, time.monotonic() - began, notes)


def placed_benchmarks(settings: ItemsConfig) -> list[BenchmarkFolder]:
    """The benchmarks of the suites with their folders. One error reports all that lack one."""
    named = dict(each.split("=", 1) for each in settings.data if "=" in each)
    roots = [Path(each) for each in settings.data if "=" not in each]
    benchmarks = [benchmark for name in settings.suite for benchmark in registry.suite(name)]
    benchmarks = list({benchmark.name: benchmark for benchmark in benchmarks}.values())
    if strange := named.keys() - {name for each in benchmarks for name in (each.name, each.folder)}:
        then = f"the benchmarks asked for are {', '.join(benchmark.name for benchmark in benchmarks)}"
        raise ConfigError(f"data are given for {min(strange)}, which is not asked for", where="--data", then=then)
    alone = len({benchmark.folder for benchmark in benchmarks}) == 1
    places = {benchmark.name: _place(benchmark, named, roots, alone) for benchmark in benchmarks}
    if missing := [benchmark for benchmark in benchmarks if places[benchmark.name] is None]:
        _tell_missing(missing, [benchmark.name for benchmark in benchmarks if places[benchmark.name]])
    return [
        BenchmarkFolder(benchmark, place) for benchmark in benchmarks if (place := places[benchmark.name]) is not None
    ]


def found_in(placed: BenchmarkFolder, limit: int | None) -> list[BenchmarkItem]:
    """The items of a benchmark. A subset takes some of each group; a smaller subset is part of a larger one."""
    found = list(placed.benchmark.items(placed.folder))
    if not found:
        then = f"see that the download is whole; it is got so: {placed.benchmark.get}"
        raise ConfigError(f"{placed.benchmark.name} has no items here", where=str(placed.folder), then=then)
    if limit is None or limit >= len(found):
        return found
    groups: dict[tuple[str, str], list[int]] = {}
    for place, each in enumerate(found):
        groups.setdefault((each.wants, each.group), []).append(place)
    for own in groups.values():
        own.sort(key=lambda place: content_hash([found[place].subset, found[place].key]))
    turns = [groups[name] for name in sorted(groups, key=content_hash)]
    drawn = [place for turn in zip_longest(*turns) for place in turn if place is not None]
    if not placed.benchmark.whole_clusters:
        return [found[place] for place in sorted(drawn[:limit])]
    return _whole_clusters(found, drawn, limit)


def _whole_clusters(found: Sequence[BenchmarkItem], drawn: Iterable[int], limit: int) -> list[BenchmarkItem]:
    """The clusters of the drawn items, each with all its items; the last one may exceed the limit."""
    sizes, chosen, number = Counter(each.cluster for each in found), set[str](), 0
    for name in dict.fromkeys(found[place].cluster for place in drawn):
        if number >= limit:
            break
        chosen.add(name)
        number += sizes[name]
    return [each for each in found if each.cluster in chosen]


def item_of(benchmark: str, found: BenchmarkItem, blob: str, cluster: str) -> Item:
    return Item(
        benchmark=benchmark,
        subset=found.subset,
        key=found.key,
        question=found.question,
        blob=blob,
        wants=found.wants,
        scored_by=found.scored_by,
        group=found.group,
        cluster=cluster,
        references=found.references,
        context=found.context,
        subject=found.subject,
    )


def _items(context: StageContext[ItemsConfig], placed: Sequence[BenchmarkFolder]) -> Iterator[Item]:
    listed = [(each.benchmark, found_in(each, context.settings.limit)) for each in placed]
    with context.screen.bar(ITEMS.stage, sum(len(found) for _, found in listed)) as bar:
        for benchmark, found in listed:
            known, blobs = set[tuple[str, str]](), list[str]()
            for each in found:
                if (each.subset, each.key) in known:
                    what = f"{benchmark.name} has two items {each.subset} {each.key}"
                    raise ConfigError(what, where="--data", then="see whether a file of it stands there twice")
                known.add((each.subset, each.key))
                blobs.append(_store_image(context.run, benchmark.name, each))
                bar.advance()
            clusters = clusters_of(found, blobs if benchmark.by_image else [""] * len(blobs))
            yield from map(item_of, [benchmark.name] * len(found), found, blobs, clusters)


def clusters_of(found: Sequence[BenchmarkItem], blobs: Sequence[str]) -> list[str]:
    """The cluster of each item: items with the same cluster name or image share one, directly or through other items.

    Images are equal if their bytes are: files may hold one under several names, and several images under one name.
    """
    leads: dict[str, str] = {}

    def lead(name: str) -> str:
        while leads.setdefault(name, name) != name:
            leads[name] = name = leads[leads[name]]
        return name

    names = [each.cluster or blob or f"{each.subset}/{each.key}" for each, blob in zip(found, blobs, strict=True)]
    for name, blob in zip(names, blobs, strict=True):
        if blob:
            leads[lead(blob)] = lead(name)
    return [lead(name) for name in names]


def _store_image(run: RunFolder, benchmark: str, found: BenchmarkItem) -> str:
    try:
        return run.blobs.put(found.image()) if found.image else ""
    except ConfigError as error:
        raise ConfigError(f"{benchmark}: {error.what}", where=error.where, then=error.then) from None


def _place(benchmark: Benchmark, named: dict[str, str], roots: Sequence[Path], alone: bool) -> Path | None:
    for name in (benchmark.name, benchmark.folder):
        if name in named:
            return Path(named[name])
    inside = (root / name for name in (benchmark.name, benchmark.folder) for root in roots if (root / name).is_dir())
    return next(inside, roots[0] if alone and roots else None)


def _tell_missing(missing: Sequence[Benchmark], there: Sequence[str]) -> None:
    told = "".join(f"\n  {benchmark.name}, in {benchmark.folder}/: {benchmark.get}" for benchmark in missing)
    rest = f", or ask only those that are there: --suite {','.join(there)}" if there else ""
    then = f"put each into the folder named above, inside --data FOLDER, or give its own: --data NAME=FOLDER{rest}"
    raise ConfigError(f"the data of {len(missing)} benchmarks are missing:{told}", where="--data", then=then)
