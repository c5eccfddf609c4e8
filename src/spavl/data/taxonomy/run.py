"""taxonomy: a TOML file -> Category rows."""

import time

from spavl.data.taxonomy.config import PLAN, TaxonomyConfig
from spavl.data.taxonomy.tree import categories, read_tree
from spavl.records import Category, Reject
from spavl.stages.runner import StageContext, fingerprint_of, seal
from spavl.store import Manifest


async def run(job: StageContext[TaxonomyConfig]) -> Manifest:
    began = time.monotonic()
    tree = read_tree(job.settings.file)
    job.run.forget(PLAN.stage)
    job.run.write_rows(PLAN.stage, Category, categories(tree))
    job.run.write_rows(PLAN.stage, Reject, [])
    notes: dict[str, object] = {"taxonomy": tree.name, "taxonomy_version": tree.version}
    return seal(job, PLAN, fingerprint_of(job, PLAN), {}, time.monotonic() - began, notes)
