"""taxonomy: a TOML file -> Category rows."""

import time

from spavl.data.taxonomy.config import SPEC, TaxonomyConfig
from spavl.data.taxonomy.notes import TaxonomyNotes
from spavl.data.taxonomy.tree import categories, read_tree
from spavl.records import Category, Reject
from spavl.stages.context import StageContext
from spavl.stages.finishing import fingerprint_of, seal
from spavl.store import Manifest


async def run(context: StageContext[TaxonomyConfig]) -> Manifest:
    began = time.monotonic()
    tree = read_tree(context.settings.file)
    context.run.forget(SPEC.stage)
    context.run.write_rows(SPEC.stage, Category, categories(tree))
    context.run.write_rows(SPEC.stage, Reject, [])
    notes = TaxonomyNotes(taxonomy=tree.name, taxonomy_version=tree.version)
    return seal(context, SPEC, fingerprint_of(context, SPEC), {}, time.monotonic() - began, notes)
