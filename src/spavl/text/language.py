"""Whether a text is in the requested language, by its script and by py3langid.

A sentence of ten words is little to go by, and a question that is refused wrongly is lost. So this speaks up only on
evidence: another script, or another language that is several times as likely. It knows the languages of
`languages.toml`; a text in any other one passes unjudged.
"""

import re
import tomllib
import unicodedata
from collections import Counter
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from spavl.errors import ConfigError
from spavl.text.nearest import suggestion

# How many times as likely another language must be. Of 18,000 texts of three words and more, at 8 one right text of 360
# is refused, at 5 one of 210; of those with ten words and more none. See docs/questions.md.
_SURELY = 8.0
# Beside the languages of the table, what may be taken for one of them. Not named are those that a sentence cannot tell
# from one of the table, such as Malay from Indonesian or Galician from Portuguese: they pass.
_NEIGHBOURS = ("da", "no", "fi", "hu", "ro", "sk", "bg", "sr", "hr", "bs", "sl", "ca", "lt", "lv", "et", "sq", "mk")
# Of the letters, what must be in the wanted script; names and loan words may be in another.
_OWN_SCRIPT = 0.2
_JAPANESE = ("KANA", "HAN")


@dataclass(frozen=True, slots=True)
class Language:
    code: str
    name: str
    # Empty if nothing is known of the language but its name: then no text is judged.
    script: str
    refusal: re.Pattern[str] | None


@cache
def languages() -> dict[str, Language]:
    table = tomllib.loads(files("spavl.text").joinpath("languages.toml").read_text(encoding="utf-8"))
    return {
        code: Language(
            code=code,
            name=entry["name"],
            script=entry["script"],
            refusal=re.compile("|".join(entry["refusals"])) if "refusals" in entry else None,
        )
        for code, entry in table.items()
    }


def language_named(named: str, where: str) -> Language:
    """The language of this code or name; one that is not in the table by its name alone."""
    for language in languages().values():
        if named.casefold() in (language.code, language.name.casefold()):
            return language
    # A name begins with a capital, so that a mistyped code is none.
    if not named[:1].isupper():
        known = suggestion(named, languages(), "use one of")
        then = f"{known} or a name, such as Swahili, which is asked for and not checked"
        raise ConfigError(f"nothing is known of the language {named!r}", where=where, then=then)
    return Language(code=named, name=named, script="", refusal=None)


def is_in(language: Language, text: str) -> bool:
    """Whether nothing speaks against this language."""
    scripts = scripts_of(text)
    if not scripts or not language.script:
        return True
    own = _JAPANESE if language.code == "ja" else (language.script,)
    if sum(scripts[script] for script in own) < _OWN_SCRIPT * scripts.total():
        return False
    # What a sign or a name says in another script is not the asker's language; but Japanese is told by its kana.
    said = text if "HAN" in own else "".join(sign for sign in text if not sign.isalpha() or _script_of(sign) in own)
    likely = dict(_identifier().rank(said))
    return bool(max(likely.values()) < _SURELY * likely[language.code])


def declines_in(language: Language, text: str) -> bool:
    """Whether a text begins as refusals do in this language. Of English the judges' rules know more."""
    return language.refusal is not None and language.refusal.match(text.strip().casefold()) is not None


def scripts_of(text: str) -> Counter[str]:
    """How many letters of each script a text has."""
    return Counter(_script_of(character) for character in text if character.isalpha())


def _script_of(letter: str) -> str:
    script = unicodedata.name(letter, "?").split()[0]
    return "HAN" if script == "CJK" else "KANA" if script in ("HIRAGANA", "KATAKANA") else script


@cache
def _identifier() -> Any:
    """Loaded when it is first asked, in half a second."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.set_languages([*languages(), *_NEIGHBOURS])
    return identifier
