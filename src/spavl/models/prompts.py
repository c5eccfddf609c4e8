"""Sets of prompts: folders of text files with placeholders. Shipped sets have versions; users can give their own."""

import string
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from spavl.errors import ConfigError
from spavl.records import content_hash
from spavl.text.nearest import suggestion

_FENCE = "fence"


class Prompts(NamedTuple):
    """One set of prompts: the text of each, by name."""

    name: str
    texts: dict[str, str]

    def __contains__(self, prompt: object) -> bool:
        return prompt in self.texts

    def fill(self, prompt: str, **material: str) -> str:
        """Fill in a prompt. The fence is a hash of the material, so that the material cannot contain it."""
        fence = f"#{content_hash([prompt, material])[:12]}"
        return self.texts[prompt].format(**material, **{_FENCE: fence})


def read_prompts(package: str, name: str, where: str, needs: Sequence[str], knows: Sequence[str] = ()) -> Prompts:
    """The set of this name in a package, or the folder at this path. It must have all prompts in `needs`."""
    shipped = files(package).joinpath("prompts")
    own = shipped.joinpath(name) if name and "/" not in name and shipped.joinpath(name).is_dir() else Path(name)
    texts = {each.name[:-4]: each for each in own.iterdir() if each.name.endswith(".txt")} if own.is_dir() else {}
    if missing := [each for each in needs if each not in texts]:
        known = sorted(each.name for each in shipped.iterdir() if each.is_dir())
        then = suggestion(name, known, f"give a folder with {missing[0]}.txt in it, or one that ships")
        raise ConfigError("there is no such set of prompts", where=f"{where} = {name!r}", then=then)
    prompts = Prompts(name, {each: text.read_text(encoding="utf-8").strip() for each, text in texts.items()})
    for each, text in prompts.texts.items():
        check_places(text, {*knows, _FENCE}, f"{where} = {name!r}, {each}.txt")
    return prompts


def check_places(text: str, knows: set[str], where: str) -> None:
    """Raise if a prompt has unknown placeholders or unbalanced braces."""
    then = f"places to fill in are {', '.join(f'{{{name}}}' for name in sorted(knows))}; write other braces twice"
    try:
        named = {field for _, field, *_ in string.Formatter().parse(text) if field is not None}
    except ValueError as error:
        raise ConfigError(f"a brace is out of place: {error}", where=where, then=then) from None
    if unknown := named - knows:
        what = f"nothing can be filled in at {{{min(unknown)}}}"
        raise ConfigError(what, where=where, then=then)
