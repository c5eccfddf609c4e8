"""E-mail addresses, also spelled with "at" and "dot", and phone numbers."""

import re
from collections.abc import Iterator

from spavl.text.personal_data.gaps import GAP
from spavl.text.personal_data.placeholders import (
    EXAMPLE_DOMAINS,
    FILE_ENDS,
    FILE_ENDS_OF_TWO,
    NO_MAILBOXES,
    RESERVED_DOMAINS,
)
from spavl.text.personal_data.top_level_domains import TOP_LEVEL_DOMAINS

Span = tuple[int, int]

# Every repetition is bounded, so that a text is searched in a time that grows with its length.
# Letters are those of any script. Marks of Markdown may stand around the address and around the mailbox.
_LABEL = r"[^\W_](?:(?:[^\W_]|-){0,61}[^\W_])?"
_EMAIL = re.compile(
    rf"(?<![\w.%+-])_{{0,2}}([\w.%+'-]{{1,64}}(?:\*\*)?(?P<between> ?)@ ?((?:{_LABEL}\.){{1,6}}[^\W\d_]{{2,18}}))"
    r"(?![^\W_]|@|-[^\W_])"
)
# With spaces around it, @ is rather an operator, and its right side a name of a program, which may be called.
_COMMON_ENDS = frozenset(("com", "org", "net", "edu", "gov", "info"))
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
# Numbers of a table or a list of scores.
_ROUND = re.compile(r"\d{3} (?:\d\d0 \d{3}0|(?:128|256|384|512|768) (?:1024|2048|3072|4096|8192))$")
# Any number behind a word for a phone.
_NUMBER = r"\+? ?\(?\d(?:(?! / )[ ().\-/]{0,3}\d){6,14}(?!\d|[a-wyz]{1,3}\d)"
_CUED = re.compile(
    r"(?:(?<![^\W_])(?:tel|phone|telephone|call(?: me| us| him| her)?(?: at| on)?|mobile|cell|cellphone|fax|whatsapp|"
    r"telefon|telefono|telefoon|tél|téléphone|teléfono|handy|mobil|mobiel|móvil|celular|ruf|тел|телефон|telefone)"
    r"(?:nummer)?(?:[ _-]?phone)?(?:[ _-]?(?:no|nos|numbers?|nr|num)\b\.?)?(?: (?:is|was|are|ist|est|es)\b)?|"
    r"(?:电话|電話|手机|手機|携帯|전화|휴대폰)(?:号码|號碼|番号|번호|号|號)?[是为為はは는은]?)"
    rf"{GAP}({_NUMBER})",
    re.I,
)
# Another number beside one that was found.
_ALSO = re.compile(
    rf"(?: ?[,;/] ?(?:or |and )?| (?:or|and|oder|und|ou|et|o|y|e|или|и) |[或和、]){GAP}({_NUMBER})", re.I
)
# What stands behind a word for a phone too: years, dates, numbers with a fraction, and sizes of a screen or an image.
_NO_PHONE = re.compile(
    r"(?:19|20)\d\d ?[-/ ] ?(?:19|20)\d\d(?!\d)"
    r"|(?:19|20)\d\d([-./])(?:0?[1-9]|1[0-2])\1(?:0?[1-9]|[12]\d|3[01])(?!\d)"
    r"|(?:0?[1-9]|[12]\d|3[01])([-./])(?:0?[1-9]|[12]\d|3[01])\2(?:19|20)\d\d(?!\d)"
    r"|(?:0|[1-9]\d?)\.\d{4,}(?![.\d])|[1-9]\d\d\.\d{4,} -?\d{1,3}\.\d{4,}(?![.\d])"
    r"|(?:(?:1024|1080|12[08]0|1366|1440|1600|1920|2048|2160|2560|2880|3072|3840|4096|4320|7680|8192)(?: |$)){2}"
)
_FEWEST_DIGITS = 7


def emails(text: str) -> Iterator[Span]:
    if "@" in text:
        for found in _EMAIL.finditer(text):
            mailbox, domain = found[1].partition("@")[0].strip(".'* "), found[3]
            if _is_mailbox(mailbox, domain) and not (found["between"] and _is_code(text, found.end(), mailbox, domain)):
                yield found.span(1)
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
    if not mailbox or mailbox.lower() in NO_MAILBOXES or labels[-1] in RESERVED_DOMAINS or not _is_end(labels):
        return False
    return "example" not in labels and not any(
        domain == each or domain.endswith(f".{each}") for each in EXAMPLE_DOMAINS
    )


def _is_end(labels: list[str]) -> bool:
    """Whether a domain can end so on the Internet. Ends in other scripts are not known one by one."""
    last = labels[-1]
    if last.isascii() and last not in TOP_LEVEL_DOMAINS:
        return False
    return last not in FILE_ENDS and not (len(labels) == 2 and last in FILE_ENDS_OF_TWO)


def _is_code(text: str, end: int, mailbox: str, domain: str) -> bool:
    """Whether `a @ b.c` is rather a product of matrices than an address."""
    last = domain.lower().rpartition(".")[2]
    return text[end : end + 1] in ("(", "[") or len(mailbox) < 3 or not (len(last) == 2 or last in _COMMON_ENDS)


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
        if is_valid(found[0], "US") and not _is_fictional(found[0]) and not _ROUND.match(found[0]):
            yield found.span()
    for cue in _CUED.finditer(text):
        number: re.Match[str] | None = cue
        while number and not _NO_PHONE.match(number[1].lstrip("(+ ")) and not _is_fictional(number[1]):
            yield number.span(1)
            number = _ALSO.match(text, number.end())


def _is_fictional(number: str) -> bool:
    """Whether a North American number has the exchange 555, which is used in films and manuals, or counts up."""
    digits = "".join(filter(str.isdigit, number))
    if digits in "12345678901234567890" or len(set(digits)) < 3:
        return True
    return (len(digits) in (10, 11) and digits[-7:-4] == "555") or (len(digits) == 7 and digits.startswith("555"))
