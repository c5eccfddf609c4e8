"""Cost estimate: the rows of the taxonomy. No model is called."""

from spavl.data.taxonomy.config import TaxonomyConfig
from spavl.data.taxonomy.tree import categories, read_tree
from spavl.records import Category
from spavl.stages.cost_model import CostContext, WeightedRow


async def taxonomy(context: CostContext[TaxonomyConfig]) -> list[WeightedRow[Category]]:
    return [WeightedRow(category, 1.0) for category in categories(read_tree(context.settings.file))]
