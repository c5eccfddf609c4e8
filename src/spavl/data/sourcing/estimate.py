"""Cost estimate: the expected candidates. No model is called."""

from spavl.data.sourcing.config import SourcingConfig
from spavl.data.sourcing.readers.entry import SourceEntry
from spavl.data.sourcing.sources import HubSource, UnsortedSource, candidate, is_missing, open_source
from spavl.records import Candidate, Category
from spavl.stages.cost_model import CostContext, WeightedRow

# Assumed of a source that does not exist yet: more candidates than any run takes.
_AS_MANY_AS_WANTED = 1e9


async def sourcing(context: CostContext[SourcingConfig]) -> list[WeightedRow[Candidate]]:
    settings = context.settings
    categories = [category for category, _ in context.read("taxonomy", Category)]
    if is_missing(settings):
        return [
            WeightedRow(candidate(category, 0, SourceEntry("", category.leaf)), _AS_MANY_AS_WANTED)
            for category in categories
        ]
    source, most = open_source(settings, context.seed, categories), settings.per_leaf or 0
    if isinstance(source, UnsortedSource | HubSource):
        # A better estimate would need the index, which takes long to build.
        return [WeightedRow(candidate(category, 0, SourceEntry("", category.leaf)), most) for category in categories]
    listed = [row for category in categories for row in source.candidates(category, most) if isinstance(row, Candidate)]
    return [WeightedRow(row, 1.0) for original in listed for row in (original, *source.twins(original))]
