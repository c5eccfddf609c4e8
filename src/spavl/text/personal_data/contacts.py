"""E-mail addresses, also spelled with "at" and "dot", and phone numbers."""

import re
from collections.abc import Iterator

from spavl.text.personal_data.placeholders import EXAMPLE_DOMAINS, NO_DOMAINS, NO_MAILBOXES, RESERVED_DOMAINS

Span = tuple[int, int]

# Every repetition is bounded, so that a text is searched in a time that grows with its length.
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_EMAIL = re.compile(rf"(?<![\w.%+-])([\w.%+'-]{{1,64}}) ?@ ?((?:{_LABEL}\.){{1,6}}[A-Za-z]{{2,18}})(?![\w@-])")
# `jane at site dot org`, `jane (at) site.org`, `jane[at]site[dot]org`: one of both is spelled in brackets, or both are
# words; "look at this. We" is neither.
_AT, _DOT = r"(?:\s?[\[({<]\s?(?:at|@)\s?[\])}>]\s?)", r"(?:\s?[\[({<]\s?(?:dot|\.)\s?[\])}>]\s?|\s{1,3}dot\s{1,3}|\.)"
_WORD = r"[A-Za-z0-9_%+-]{1,40}"
_SPELLED = (
    re.compile(rf"(?<![\w.%+-])({_WORD}(?:{_DOT}{_WORD}){{0,3}}){_AT}({_WORD}(?:{_DOT}{_WORD}){{1,4}})(?![\w-])", re.I),
    re.compile(
        rf"(?<![\w.%+-])({_WORD}(?:(?:\.|\s{{1,3}}dot\s{{1,3}}){_WORD}){{0,3}})\s{{1,3}}at\s{{1,3}}"
        rf"({_WORD}(?:\s{{1,3}}dot\s{{1,3}}{_WORD}){{1,4}})(?![\w-])",
        re.I,
    ),
)
_SPELLED_DOT = re.compile(_DOT, re.I)

_INTERNATIONAL = re.compile(r"(?<![\w.+/])\+ ?(\d[\d ().\-/]{5,24}\d)(?!\d)")
# North American numbers in groups of 3, 3 and 4, with one separator: 252.227-7013 is a paragraph of a law.
_NORTH_AMERICAN = re.compile(
    r"(?<![\w.+/=#-])(?<!\d )(?:1[ .-])?(?:\(\d{3}\) ?\d{3}[ .-]|\d{3}(?P<between>[ .-])\d{3}(?P=between))\d{4}"
    r"(?![\w-]|[./]\d| \d)"
)
# Any number behind a word for a phone.
_CUED = re.compile(
    r"(?<!\w)(?:tel|phone|telephone|call(?: me| us| him| her)?(?: at| on)?|mobile|cell|fax|whatsapp|telefon|telefono|"
    r"tél|téléphone|teléfono|handy|mobil|电话|電話|手机|тел|telefone)(?: ?(?:no|number|nr|is)\b)?[ .:#=()-]{0,4}"
    r"(\+? ?\(?\d[\d ().\-/]{5,20}\d)(?!\d)",
    re.I,
)
_FEWEST_DIGITS, _MOST_DIGITS = 7, 15


def emails(text: str) -> Iterator[Span]:
    if "@" in text:
        for found in _EMAIL.finditer(text):
            if _is_mailbox(found[1].strip(".'"), found[2]):
                yield found.span()
    if "at" not in text.lower():
        return
    for pattern in _SPELLED:
        for found in pattern.finditer(text):
            domain = _SPELLED_DOT.sub(".", found[2])
            last = domain.rpartition(".")[2]
            if last.isalpha() and 2 <= len(last) <= 6 and _is_mailbox(_SPELLED_DOT.sub(".", found[1]), domain):
                yield found.span()


def _is_mailbox(mailbox: str, domain: str) -> bool:
    """Whether an address may be somebody's: neither reserved for examples nor the address of a program."""
    domain = domain.lower()
    labels = domain.split(".")
    if not mailbox or mailbox.lower() in NO_MAILBOXES or labels[-1] in (*RESERVED_DOMAINS, *NO_DOMAINS):
        return False
    return "example" not in labels and not any(
        domain == each or domain.endswith(f".{each}") for each in EXAMPLE_DOMAINS
    )


def phones(text: str) -> Iterator[Span]:
    if sum(map(str.isdigit, text)) < _FEWEST_DIGITS:
        return
    import phonenumbers

    def is_valid(number: str, region: str | None) -> bool:
        try:
            return bool(phonenumbers.is_valid_number(phonenumbers.parse(number, region)))
        except phonenumbers.NumberParseException:
            return False

    for found in _INTERNATIONAL.finditer(text):
        if is_valid(f"+{found[1]}", None) and not _is_fictional(found[1]):
            yield found.span()
    for found in _NORTH_AMERICAN.finditer(text):
        if is_valid(found[0], "US") and not _is_fictional(found[0]):
            yield found.span()
    for found in _CUED.finditer(text):
        digits = "".join(filter(str.isdigit, found[1]))
        if _FEWEST_DIGITS <= len(digits) <= _MOST_DIGITS and len(set(digits)) > 2 and not _is_fictional(found[1]):
            yield found.span(1)


def _is_fictional(number: str) -> bool:
    """Whether a North American number has the exchange 555, which is used in films and manuals, or counts up."""
    digits = "".join(filter(str.isdigit, number))
    if digits in "12345678901234567890" or len(set(digits)) < 3:
        return True
    return (len(digits) in (10, 11) and digits[-7:-4] == "555") or (len(digits) == 7 and digits.startswith("555"))
