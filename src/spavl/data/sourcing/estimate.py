"""Which candidates would be listed. Nothing is asked."""

from spavl.data.sourcing.config import CandidatesConfig
from spavl.data.sourcing.readers.entry import Entry
from spavl.data.sourcing.sources import OnHub, Unsorted, candidate, is_missing, open_source
from spavl.records import Candidate, Category
from spavl.stages.cost_model import Many, Outlook

# Of a source that is not there yet: more than any run takes.
_AS_MANY_AS_WANTED = 1e9


async def candidates(outlook: Outlook[CandidatesConfig]) -> list[Many[Candidate]]:
    settings = outlook.settings
    categories = [category for category, _ in outlook.read("taxonomy", Category)]
    if is_missing(settings):
        return [Many(candidate(category, 0, Entry("", category.leaf)), _AS_MANY_AS_WANTED) for category in categories]
    source, most = open_source(settings, outlook.seed, categories), settings.per_leaf or 0
    if isinstance(source, Unsorted | OnHub):
        # Only the index, which takes long to make, could say more.
        return [Many(candidate(category, 0, Entry("", category.leaf)), most) for category in categories]
    listed = [row for category in categories for row in source.candidates(category, most) if isinstance(row, Candidate)]
    return [Many(row, 1.0) for original in listed for row in (original, *source.twins(original))]
