"""The studies that ship with spavl, and the files of one's own."""

import tomllib
from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from spavl.config import laid_over, read_settings, table_of
from spavl.errors import ConfigError
from spavl.studies.config import BASE, StudyConfig
from spavl.text.nearest import suggestion

QUICK = "quick"
# What `--quick` makes small in every study, and then the study's own section [quick].
_SMALL: Mapping[str, Any] = {
    "seeds": [1],
    "selection": {"pairs": 256},
    "training": {"epochs": 2, "loop": {"learning_rate": 1e-3, "warmup_steps": 2}},
    "measure": {"limit": 60},
}


def study_names() -> list[str]:
    folder = files("spavl.studies").joinpath("named")
    return sorted(file.name.removesuffix(".toml") for file in folder.iterdir() if file.name.endswith(".toml"))


def read_study(name: str, is_quick: bool, options: Mapping[str, str]) -> StudyConfig:
    """The settings of a named study or of a file; with `is_quick` its section [quick] is laid over them."""
    table = _table_of(name)
    quick = table.pop(QUICK, {})
    if not isinstance(quick, Mapping):
        raise ConfigError(f"{QUICK} is a section", where=name, then=f"write [{QUICK}] with its settings under it")
    if is_quick:
        # A list of sizes or of arms replaces the longer one; other settings are laid over.
        replaced = {"axes", "arms"} & quick.keys()
        table = {key: value for key, value in table.items() if key not in replaced}
        table = laid_over(laid_over(table, _SMALL), quick)
        if replaced:
            table["expectations"] = _about_arms(table.get("expectations", ()), table.get("arms", {}))
    return read_settings(StudyConfig, table, options, where=name)


def _about_arms(expectations: Iterable[Mapping[str, Any]], arms: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Those about arms that the small form has too."""
    return [each for each in expectations if {each.get("lower"), each.get("higher")} <= {BASE, *arms}]


def _table_of(name: str) -> dict[str, Any]:
    if name in study_names():
        return tomllib.loads(files("spavl.studies").joinpath("named", f"{name}.toml").read_text(encoding="utf-8"))
    if name.endswith(".toml") or Path(name).is_file():
        return table_of(Path(name), name, "file of a study", study_names())
    then = suggestion(name, study_names(), "studies") + "; or give the TOML file of your own"
    raise ConfigError(f"no study is called {name!r}", where="spavl study", then=then)
