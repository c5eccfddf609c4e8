"""Postal addresses of a house: its number, its street, and the postal code or state behind them."""

import re
from collections.abc import Iterator

from spavl.text.personal_data.placeholders import KNOWN_ADDRESSES

Span = tuple[int, int]

_TOWN = r"[A-Z][\w'’.-]{1,24}"
_NAME = r"[A-Z0-9][\w'’.-]{0,24}"
_STREETS = (
    "Street|St|Avenue|Ave|Av|R(?:oa)?d|Lane|Ln|Drive|Dr|Boulevard|Blvd|Court|Ct|Way|Place|Pl|Terrace|Ter|Square|Sq|"
    "Parkway|Pkwy|Circle|Cir|Highway|Hwy|Close|Crescent|Cres|Gardens|Grove|Mews|Trail|Trl|Loop"
)
_STATE = (
    "(?:A[LKZR]|C[AOT]|DE|DC|FL|GA|HI|I[DLNA]|K[SY]|LA|M[EDAINSOT]|N[EVHJMYCD]|O[HKR]|PA|RI|S[CD]|T[NX]|UT|V[TA]|"
    "W[AVIY])"
)
_US_END = rf"(?:{_STATE}|(?-i:[A-Z][a-z]{{3,12}}(?: [A-Z][a-z]{{3,9}})?)),?\s{{1,3}}\d{{5}}(?:-\d{{4}})?(?!\d)"
_UK_END = r"(?-i:[A-Z]{1,2}\d[A-Z\d]? ?\d[A-Z]{2})(?!\w)"
_CA_END = r"(?-i:[A-Z]\d[A-Z] ?\d[A-Z]\d)(?!\w)"
_AU_END = r"(?-i:NSW|VIC|QLD|ACT|TAS|WA|SA|NT),?\s{1,2}\d{4}(?!\d)"
# Between street and end: a unit, a district, a town; at most two lines.
_BETWEEN = r"[\w .,'’#/()\n-]{1,70}?"
_PATTERNS = tuple(
    re.compile(pattern)
    for pattern in (
        rf"(?i)(?<![\w.,$€£/-])(?<!\d )\d{{1,5}}[A-Za-z]?,? (?:{_NAME} ){{1,4}}(?:{_STREETS})\b\.?,?"
        rf"{_BETWEEN}\b(?:{_US_END}|{_UK_END}|{_CA_END}|{_AU_END})",
        # 4521 Maple Avenue, Portland, OR: without a postal code, each part has a capital and a comma behind it
        rf"(?<![\w.,$€£/-])(?<!\d )(?<!\b[Ii]n )\d{{1,5}}[A-Za-z]? (?:{_NAME} ){{1,3}}(?i:{_STREETS})\b\.?,"
        rf"(?: (?i:apt|unit|suite|ste|#)[ .]{{0,2}}[\w-]{{1,6}},)? {_TOWN}(?: {_TOWN}){{0,2}}, {_STATE}(?!\w)",
        rf"(?i)(?<!\w)P\.? ?O\.? ?Box \d{{1,6}},?{_BETWEEN}\b(?:{_US_END}|{_UK_END}|{_CA_END}|{_AU_END})",
        # Musterweg 3, 12345 Stadt
        r"(?<!\w)(?:[A-ZÄÖÜ][\wäöüß.-]{0,30} ){0,2}[A-ZÄÖÜa-z][\wäöüß-]{0,30}"
        r"(?:straße|strasse|str\.|weg|platz|allee|gasse|ring|damm|ufer|straat|laan|gracht)"
        r" \d{1,4} ?[a-zA-Z]?,?[ \n]{1,3}(?:[ADB]-|CH-)?\d{4,5}(?: [A-Z]{2})?[ ]{1,2}[A-ZÄÖÜ][\wäöüß.-]{1,30}",
        # Am Kirchberg 12, 10969 Berlin
        r"(?<!\w)(?i:Am|An de[nr]|Auf de[mr]|Beim|Im|In de[nr]|Zum|Zur|Hinter de[mr]|Unter den)"
        r"(?: [A-ZÄÖÜ][\wäöüß-]{1,30}){1,2} \d{1,4} ?[a-zA-Z]?[,\n] ?\d{5} [A-ZÄÖÜ][\wäöüß.-]{1,30}",
        # lindenstraße 12, 10969 berlin
        r"(?i)(?<!\w)[\w-]{1,30}[ -]?(?:straße|strasse|str\.|platz|allee|gasse) \d{1,4} ?[a-z]?, ?\d{5} [\w.-]{2,30}",
        # 12 rue des Lilas, 75001 Paris
        r"(?<![\w.,-])\d{1,4}(?: ?(?:bis|ter))?,? (?i:rue|avenue|av\.|boulevard|bd|place|chemin|impasse|allée|quai)"
        r"(?: [\w'’éèêàâîôûç.-]{1,25}){1,6},?[ \n]{1,3}\d{5} [A-ZÉÈ][\w'’éèêàâîôûç-]{1,30}",
        # Calle Mayor, 3, 28013 Madrid; Via Roma 12, 00184 Roma
        r"(?<!\w)(?:Via|VIA|(?i:Calle|C/|Avenida|Avda\.?|Plaza|Paseo|Viale|Piazza|Corso|Rua))"
        r"(?: [\w'’.-]{1,25}){1,5},? (?:n\.?º? ?)?\d{1,4}(?:[ ,\n]{1,3}[\wº ]{1,8})?,?[ \n]{1,3}"
        r"(?:\d{5}|\d{4}-\d{3}),? [A-ZÁÉ][\w'’-]{1,30}",
    )
)

# At the beginning of a number or a word: 2123 Main Street is another house than 123 Main Street.
_KNOWN = re.compile(rf"(?<![^\W_])(?:{'|'.join(map(re.escape, KNOWN_ADDRESSES))})")


def addresses(text: str) -> Iterator[Span]:
    if not any(map(str.isdigit, text)):
        return
    for pattern in _PATTERNS:
        for found in pattern.finditer(text):
            said = " ".join(found[0].lower().split())
            if not _KNOWN.search(said):
                yield found.span()
