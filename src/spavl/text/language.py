"""Whether a text is in the requested language, by its script and by py3langid.

Ten words are little evidence, and a question that is rejected wrongly is lost. So a text is rejected only if it is in
another script, or if another language is several times as likely. Only the languages of `languages.toml` are checked;
if another language was requested, every text passes.
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

# How many times as likely another language must be. Of 18,000 texts of three or more words, a factor of 8 rejects one
# correct text in 360, a factor of 5 one in 210; with ten or more words, none. See docs/questions.md.
_SURELY = 8.0
# Further languages that a text may be identified as. Languages that one sentence cannot tell from one of the table are
# left out, such as Malay (Indonesian) or Galician (Portuguese): texts in them pass.
_NEIGHBOURS = ("da", "no", "fi", "hu", "ro", "sk", "bg", "sr", "hr", "bs", "sl", "ca", "lt", "lv", "et", "sq", "mk")
# The share of letters that must be in the wanted script; names and loan words may be in another.
_OWN_SCRIPT = 0.2
_JAPANESE = ("KANA", "HAN")


@dataclass(frozen=True, slots=True)
class Language:
    code: str
    name: str
    # Empty if only the name of the language is known: then every text passes.
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
    """The language with this code or name; a name that is not in the table gives a language that is not checked."""
    for language in languages().values():
        if named.casefold() in (language.code, language.name.casefold()):
            return language
    # A name must begin with a capital, so that a mistyped code is not taken for a name.
    if not named[:1].isupper():
        known = suggestion(named, languages(), "use one of")
        then = f"{known} or a name, such as Swahili, which is asked for and not checked"
        raise ConfigError(f"nothing is known of the language {named!r}", where=where, then=then)
    return Language(code=named, name=named, script="", refusal=None)


def is_in(language: Language, text: str) -> bool:
    """Whether there is no evidence against this language."""
    scripts = scripts_of(text)
    if not scripts or not language.script:
        return True
    own = _JAPANESE if language.code == "ja" else (language.script,)
    if sum(scripts[script] for script in own) < _OWN_SCRIPT * scripts.total():
        return False
    # Letters of other scripts, as in names or quoted signs, are ignored, except in Han: kana identify Japanese.
    said = text if "HAN" in own else "".join(sign for sign in text if not sign.isalpha() or _script_of(sign) in own)
    likely = dict(_identifier().rank(said))
    return bool(max(likely.values()) < _SURELY * likely[language.code])


def language_of(text: str) -> str:
    """The code of the language that a text is in; empty if another one is nearly as likely, or none can be told."""
    if not scripts_of(text):
        return ""
    (code, likely), (_, other) = _identifier().rank(text)[:2]
    return str(code) if likely >= _SURELY * other else ""


def declines_in(language: Language, text: str) -> bool:
    """Whether a text begins like a refusal in this language. For English the judges have more rules."""
    return language.refusal is not None and language.refusal.match(text.strip().casefold()) is not None


def scripts_of(text: str) -> Counter[str]:
    """How many letters of each script a text has."""
    return Counter(_script_of(character) for character in text if character.isalpha())


def _script_of(letter: str) -> str:
    script = unicodedata.name(letter, "?").split()[0]
    return "HAN" if script == "CJK" else "KANA" if script in ("HIRAGANA", "KATAKANA") else script


@cache
def _identifier() -> Any:
    """The language identifier, loaded on first use because that takes half a second."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.set_languages([*languages(), *_NEIGHBOURS])
    return identifier
