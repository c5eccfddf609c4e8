from pydantic import Field

from spavl.config import Settings
from spavl.records import Category
from spavl.stages.spec import StageSpec

SPEC = StageSpec(
    "taxonomy",
    reads=(),
    writes=Category,
    does="reads the kinds of harm",
    files=("file",),
    version=2,
)


class TaxonomyConfig(Settings):
    file: str = Field("spa-vl", description="spa-vl (the paper's tree of 6, 15 and 53), or a TOML file of your own")
