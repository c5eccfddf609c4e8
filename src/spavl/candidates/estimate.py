"""Which candidates would be listed. Nothing is asked."""

from spavl.candidates.config import CandidatesConfig
from spavl.candidates.run import listed
from spavl.candidates.sources import open_source
from spavl.outlook import Many, Outlook
from spavl.records import Candidate, Category


async def candidates(outlook: Outlook[CandidatesConfig]) -> list[Many[Candidate]]:
    settings = outlook.settings
    categories = [category for category, _ in outlook.read("taxonomy", Category)]
    source = open_source(settings.source, outlook.seed, categories)
    return [Many(row, 1.0) for category in categories for row in listed(source, category, settings.per_leaf)]
