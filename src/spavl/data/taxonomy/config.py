from pydantic import Field

from spavl.config import Settings
from spavl.records import Category
from spavl.stages.spec import StageSpec

SPEC = StageSpec(
    "taxonomy",
    reads=(),
    writes=Category,
    does="reads which harms there are",
    files=("file",),
    version=2,
)


class TaxonomyConfig(Settings):
    file: str = Field("spa-vl", description="a TOML file of your own, or spa-vl for the paper's 6/15/53 tree")
