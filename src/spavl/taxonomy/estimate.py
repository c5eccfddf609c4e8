"""What the taxonomy would hold. Nothing is asked."""

from spavl.outlook import Many, Outlook
from spavl.records import Category
from spavl.taxonomy.config import TaxonomyConfig
from spavl.taxonomy.tree import categories, read_tree


async def taxonomy(outlook: Outlook[TaxonomyConfig]) -> list[Many[Category]]:
    return [Many(category, 1.0) for category in categories(read_tree(outlook.settings.file))]
