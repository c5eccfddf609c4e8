"""candidates: Category -> Candidate rows, in the order in which each leaf is to use them."""

from collections.abc import Iterator
from itertools import islice

from spavl.candidates.config import PLAN, CandidatesConfig
from spavl.candidates.sources import Source, open_source
from spavl.records import Candidate, Category
from spavl.stage import Job, Made, run_rows
from spavl.store import Manifest


async def run(job: Job[CandidatesConfig]) -> Manifest:
    categories = list(job.run.read("taxonomy", Category))
    source = open_source(job.settings.source, job.seed, categories)

    async def work(category: Category) -> Made[Candidate]:
        return Made(list(listed(source, category, job.settings.per_leaf)))

    return await run_rows(job, PLAN, categories, len(categories), work)


def listed(source: Source, category: Category, most: int | None) -> Iterator[Candidate]:
    """The first candidates of a leaf, each with its twins."""
    for original in islice(source.candidates(category), most):
        yield original
        yield from source.twins(original)
