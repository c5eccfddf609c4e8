"""Postal addresses of a house: its number, its street, and the postal code or state behind them."""

import re
from collections.abc import Iterator

from spavl.text.personal_data.placeholders import KNOWN_ADDRESSES

Span = tuple[int, int]

_NAME = r"[A-Z0-9][\w'’.-]{0,24}"
_STREETS = (
    "Street|St|Avenue|Ave|Av|R(?:oa)?d|Lane|Ln|Drive|Dr|Boulevard|Blvd|Court|Ct|Way|Place|Pl|Terrace|Ter|Square|Sq|"
    "Parkway|Pkwy|Circle|Cir|Highway|Hwy|Close|Crescent|Cres|Gardens|Grove|Mews|Trail|Trl|Loop"
)
_US_END = (
    r"(?:A[LKZR]|C[AOT]|DE|DC|FL|GA|HI|I[DLNA]|K[SY]|LA|M[EDAINSOT]|N[EVHJMYCD]|O[HKR]|PA|RI|S[CD]|T[NX]|UT|V[TA]|"
    r"W[AVIY]|[A-Z][a-z]{3,12}(?: [A-Z][a-z]{3,9})?),?\s{1,3}\d{5}(?:-\d{4})?(?!\d)"
)
_UK_END = r"[A-Z]{1,2}\d[A-Z\d]? ?\d[A-Z]{2}(?!\w)"
_CA_END = r"[A-Z]\d[A-Z] ?\d[A-Z]\d(?!\w)"
_AU_END = r"(?:NSW|VIC|QLD|ACT|TAS|WA|SA|NT),?\s{1,2}\d{4}(?!\d)"
# Between street and end: a unit, a district, a town; at most two lines.
_BETWEEN = r"[\w .,'’#/()\n-]{1,70}?"
_PATTERNS = tuple(
    re.compile(pattern)
    for pattern in (
        rf"(?<![\w.,$€£/-])(?<!\d )\d{{1,5}}[A-Za-z]?,? (?:{_NAME} ){{1,4}}(?:{_STREETS})\b\.?,?{_BETWEEN}\b"
        rf"(?:{_US_END}|{_UK_END}|{_CA_END}|{_AU_END})",
        rf"(?<!\w)P\.? ?O\.? ?Box \d{{1,6}},?{_BETWEEN}\b(?:{_US_END}|{_UK_END}|{_CA_END}|{_AU_END})",
        # Musterweg 3, 12345 Stadt
        r"(?<!\w)(?:[A-ZÄÖÜ][\wäöüß.-]{0,30} ){0,2}[A-ZÄÖÜa-z][\wäöüß-]{0,30}"
        r"(?:straße|strasse|str\.|weg|platz|allee|gasse|ring|damm|ufer|straat|laan|gracht)"
        r" \d{1,4} ?[a-zA-Z]?,?[ \n]{1,3}(?:[ADB]-|CH-)?\d{4,5}(?: [A-Z]{2})?[ ]{1,2}[A-ZÄÖÜ][\wäöüß.-]{1,30}",
        # 12 rue des Lilas, 75001 Paris
        r"(?<![\w.,-])\d{1,4}(?: ?(?:bis|ter))?,? (?:rue|avenue|av\.|boulevard|bd|place|chemin|impasse|allée|quai)"
        r"(?: [\w'’éèêàâîôûç.-]{1,25}){1,6},?[ \n]{1,3}\d{5} [A-ZÉÈ][\w'’éèêàâîôûç-]{1,30}",
        # Calle Mayor, 3, 28013 Madrid; Via Roma 12, 00184 Roma
        r"(?<!\w)(?:Calle|C/|Avenida|Avda\.?|Plaza|Paseo|Via|Viale|Piazza|Corso|Rua)(?: [\w'’.-]{1,25}){1,5},? "
        r"(?:n\.?º? ?)?\d{1,4}(?:[ ,\n]{1,3}[\wº ]{1,8})?,?[ \n]{1,3}(?:\d{5}|\d{4}-\d{3}),? [A-ZÁÉ][\w'’-]{1,30}",
    )
)


def addresses(text: str) -> Iterator[Span]:
    if not any(map(str.isdigit, text)):
        return
    for pattern in _PATTERNS:
        for found in pattern.finditer(text):
            said = " ".join(found[0].lower().split())
            if not any(known in said for known in KNOWN_ADDRESSES):
                yield found.span()
