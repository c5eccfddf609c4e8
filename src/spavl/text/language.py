"""Whether a text is in the language that was asked for, by its script, its letters and its little words.

A sentence of twenty words is little to go by, so this speaks up only on evidence: another
script, or more of another language's letters and words than of the wanted one's. It costs
microseconds, needs no model, and knows the languages of `languages.toml`.
"""

import re
import tomllib
import unicodedata
from collections import Counter
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from spavl.errors import ConfigError
from spavl.text.alike import count_words

# A letter of a language's own tells more than a word that its neighbours may have too.
_LETTER_WEIGHT = 2
# Of the letters, what must be in the wanted script; names and loan words may be in another.
_OWN_SCRIPT = 0.5
# Of so many words one is a little word, in any language that has them.
_TELLING = 8
_JAPANESE = ("KANA", "HAN")


@dataclass(frozen=True, slots=True)
class Language:
    code: str
    name: str
    script: str
    letters: frozenset[str]
    words: frozenset[str]
    refusal: re.Pattern[str] | None


@cache
def languages() -> dict[str, Language]:
    table = tomllib.loads(files("spavl.text").joinpath("languages.toml").read_text(encoding="utf-8"))
    return {
        code: Language(
            code=code,
            name=entry["name"],
            script=entry["script"],
            letters=frozenset(entry.get("letters", "")),
            words=frozenset(entry.get("words", "").split()),
            refusal=re.compile("|".join(entry["refusals"])) if "refusals" in entry else None,
        )
        for code, entry in table.items()
    }


def language_named(code: str, where: str) -> Language:
    try:
        return languages()[code]
    except KeyError:
        then = f"use one of: {', '.join(languages())}"
        raise ConfigError(f"no rules are known for the language {code!r}", where=where, then=then) from None


def is_in(language: Language, text: str) -> bool:
    """Whether nothing speaks against this language."""
    scripts = scripts_of(text)
    if not scripts:
        return True
    own = _JAPANESE if language.code == "ja" else (language.script,)
    if sum(scripts[script] for script in own) < _OWN_SCRIPT * scripts.total():
        return False
    if language.code == "ja":
        return scripts["KANA"] > 0 or scripts["HAN"] < 8  # Japanese of more than a name holds kana
    if language.code == "zh" and scripts["KANA"]:
        return False
    if language.words and count_words(text) >= _TELLING and not _evidence(language, text):
        return False
    evidence = {other.code: _evidence(other, text) for other in languages().values() if other.script == language.script}
    return evidence[language.code] >= max(evidence.values())


def declines_in(language: Language, text: str) -> bool:
    """Whether a text begins as refusals do in this language. Of English the judges' rules know more."""
    return language.refusal is not None and language.refusal.match(text.strip().casefold()) is not None


def scripts_of(text: str) -> Counter[str]:
    """How many letters of each script a text has."""
    found: Counter[str] = Counter()
    for character in text:
        if character.isalpha():
            script = unicodedata.name(character, "?").split()[0]
            found["HAN" if script == "CJK" else "KANA" if script in ("HIRAGANA", "KATAKANA") else script] += 1
    return found


def _evidence(language: Language, text: str) -> int:
    plain = unicodedata.normalize("NFC", text).casefold()
    words = set(re.findall(r"[^\W\d_]+", plain))
    said = len(words & language.words)
    # Letters alone may be those of a name.
    return said and said + _LETTER_WEIGHT * len(set(plain) & language.letters)
