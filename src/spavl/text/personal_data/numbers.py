"""Card and account numbers, ids of persons, and IP addresses, each with its own check."""

import ipaddress
import re
from collections.abc import Callable, Iterator
from functools import cache
from importlib import import_module
from itertools import accumulate
from typing import NamedTuple

from spavl.text.personal_data.gaps import GAP
from spavl.text.personal_data.placeholders import EXAMPLE_IBANS, EXAMPLE_IDS, PUBLIC_SERVERS, TEST_CARDS

Span = tuple[int, int]

_CARD = re.compile(r"(?<![\w.+/-])(?<!\d )\d(?:[ .-]?\d){12,18}(?![\w/-]|[.,]\d| \d)")
# The first digits of an issuer's cards, and how many digits they have.
_ISSUERS = (
    (re.compile("4"), (13, 16, 19)),
    (re.compile("5[1-5]|2(?:2[2-9]|[3-6]|7[01]|720)"), (16,)),
    (re.compile("3[47]"), (15,)),
    (re.compile("6011|64[4-9]|65"), (16, 19)),
    (re.compile("35(?:2[89]|[3-8])"), (16,)),
    (re.compile("30[0-5]|3[689]"), (14,)),
    (re.compile("62"), (16, 17, 18, 19)),
)
# How a card's digits are grouped: as printed, or in one; a reader of images may lose some of the spaces.
_PRINTED = ((4, 4, 4, 4), (4, 6, 5), (4, 6, 4), (4, 4, 4, 4, 3), (6, 13), (13,), (17,), (18,))
_IBAN = re.compile(
    r"(?:(?<![\w-])|(?<=IBAN))[A-Z]{2}\d{2}(?: ?[A-Z0-9]){11,30}(?![\w-])|"
    # In lower case, where words are written so too, with letters in front only.
    r"(?:(?<![\w-])|(?<=iban))[a-z]{2}\d{2}(?: ?[a-z]{4}| ?[a-z])?(?: ?\d){10,26}(?![\w-])"
)
_IP4 = re.compile(r"(?<![\w.-])(?:\d{1,3}\.){3}\d{1,3}(?![\w-]|\.\d)")
# Public IPv6 addresses begin with 2 or 3; times and ratios are written with colons too.
_IP6 = re.compile(r"(?<![\w:.])[23][0-9A-Fa-f]{3}:{1,2}(?:[0-9A-Fa-f]{1,4}:{1,2}){1,6}[0-9A-Fa-f]{1,4}(?![\w:])")
_IP_CUE = re.compile(r"(?<![A-Za-z])(?:ip|ips|ipv4|address|addr|host|server|ping|client|peer)[ \w'\"=:([]{0,12}$", re.I)
# Versions are written like addresses, but two of their numbers are hardly ever this large.
_LARGE_OCTET = 32
_VERSION = re.compile(r"(?<![A-Za-z])(?:v|ver|version|release|build|firmware|driver)[ .:=]{0,3}$", re.I)
# A word for an id stands at most this many characters before it.
_BEFORE = 40


class _Id(NamedTuple):
    """An id number: its form, its check in python-stdnum (empty if it has no check digit), and whether a word for an id
    must stand before it."""

    form: re.Pattern[str]
    module: str
    cued: bool


_END = r"(?![\w/-]|[.,]\d| \d)"


def _digits(groups: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w.+/-])(?<!\d ){groups}{_END}")


_IDS = (
    _Id(_digits(r"\d{3}-\d{2}-\d{4}"), "us.ssn", False),
    _Id(_digits(r"\d{3}[ ]?\d{2}[ ]?\d{4}"), "us.ssn", True),
    # A reader of images may lose the space behind the word for it.
    _Id(re.compile(rf"(?<=SSN)\d{{3}}[ -]?\d{{2}}[ -]?\d{{4}}{_END}", re.I), "us.ssn", True),
    _Id(_digits(r"[A-Z]{6}\d{2}[A-EHLMPRST]\d{2}[A-Z]\d{3}[A-Z]"), "it.codicefiscale", False),
    _Id(_digits(r"\d{3}\.\d{3}\.\d{3}-\d{2}"), "br.cpf", False),
    _Id(_digits(r"\d{17}[\dX]"), "cn.ric", False),
    _Id(_digits(r"[12] ?\d{2} ?(?:0[1-9]|1[0-2]) ?\d[\dAB] ?\d{3} ?\d{3} ?\d{2}"), "fr.nir", False),
    _Id(_digits(r"756\.\d{4}\.\d{4}\.\d{2}"), "ch.ssn", False),
    _Id(_digits(r"\d{6}[-+A]\d{3}[0-9A-FHJ-NPR-Y]"), "fi.hetu", False),
    _Id(_digits(r"\d{6}-[1-8]\d{6}"), "kr.rrn", False),
    _Id(_digits(r"[A-Z]{4}\d{6}[HM][A-Z]{5}[0-9A-Z]\d"), "mx.curp", False),
    _Id(_digits(r"[XYZ]-?\d{7}-?[A-Z]"), "es.nie", False),
    _Id(_digits(r"\d{8}-?[A-Z]"), "es.dni", False),
    _Id(_digits(r"[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?\d{2} ?\d{2} ?\d{2} ?[A-D]"), "", True),
    _Id(_digits(r"\d{3} ?\d{3} ?\d{4}"), "gb.nhs", True),
    _Id(_digits(r"[A-Z]{5}\d{4}[A-Z]"), "in_.pan", True),
    _Id(_digits(r"\d{4} ?\d{4} ?\d{4}"), "in_.aadhaar", True),
    _Id(_digits(r"\d{11}"), "pl.pesel", True),
    _Id(_digits(r"\d{9}"), "nl.bsn", True),
    _Id(_digits(r"\d{2} ?\d{3} ?\d{3} ?\d{3}"), "de.idnr", True),
    _Id(_digits(r"\d{3}[ -]?\d{3}[ -]?\d{3}"), "ca.sin", True),
    _Id(_digits(r"\d{13}"), "ro.cnp", True),
    _Id(_digits(r"\d{13}"), "za.idnr", True),
    _Id(_digits(r"\d{2}\.?\d{2}\.?\d{2}-?\d{3}\.?\d{2}"), "be.nn", True),
    _Id(_digits(r"\d{6} ?\d{5}"), "no.fodselsnummer", True),
    _Id(_digits(r"\d{6}-?\d{4}"), "dk.cpr", True),
    _Id(_digits(r"(?:\d{2})?\d{6}[-+]\d{4}"), "se.personnummer", True),
    _Id(_digits(r"\d{11}"), "tr.tckimlik", True),
    _Id(_digits(r"\d{3}\.?\d{3}\.?\d{3}-?\d{2}"), "br.cpf", True),
)
# Abbreviations that are words too, such as sin and pan, count in capitals only.
_CUE = re.compile(
    r"(?<![A-Za-z])(?:SIN|NINO?|PAN|CNP|CPR|TIN|(?i:ssn|nhs|pesel|bsn|cpf|tckn|dni|idnr|social security|"
    r"social insurance|national insurance|national id|id (?:no|number|card)|identi\w{1,10}|personal (?:number|id)|"
    r"personnummer|aadha?ar|burgerservicenummer|"
    r"steuer\S{0,24}|rijksregister\w{0,8}|f[øo]dselsnummer|t\.?c\.? kimlik|tax id)|身份证|身份證)"
    r"(?![A-Za-z])"
)
# Documents without a check digit that is known: the word for the document, then a number.
_DOCUMENT = re.compile(
    r"(?:(?<![^\W_])(?:passport|driver'?s?[ _]licen[cs]e|driving[ _]licen[cs]e|reisepass|pasaporte|passeport)"
    r"(?:[ _-]?(?:no|number|nr|num|#|id)\b\.?)?(?: (?:is|was))?|护照(?:号码|号)?[是为]?)"
    rf"{GAP}([A-Z]{{0,2}}\d{{6,9}}[A-Z]?)(?![\w-])",
    re.I,
)
_DATE = re.compile(r"(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])$")


def cards(text: str) -> Iterator[Span]:
    for found in _CARD.finditer(text):
        digits = re.sub(r"\D", "", found[0])
        groups = tuple(map(len, re.split("[ .-]", found[0])))
        # A fraction has a point too, but not in each place where a card has a space.
        grouped = groups in _PRINTED if "." in found[0] else _is_grouped(groups)
        if grouped and digits not in TEST_CARDS and len(set(digits)) > 3 and _is_card(digits):
            yield found.span()


def _is_grouped(groups: tuple[int, ...]) -> bool:
    ends = set(accumulate(groups))
    return any(sum(groups) == sum(printed) and ends <= set(accumulate(printed)) for printed in _PRINTED)


def _is_card(digits: str) -> bool:
    if not any(first.match(digits) and len(digits) in lengths for first, lengths in _ISSUERS):
        return False
    odd, even = digits[-1::-2], digits[-2::-2]
    return (sum(map(int, odd)) + sum(sum(divmod(2 * int(each), 10)) for each in even)) % 10 == 0


def ibans(text: str) -> Iterator[Span]:
    for found in _IBAN.finditer(text):
        # Words behind the number match as well, so shorter parts that end at a space are tried too.
        whole = found[0]
        ends = [len(whole), *(place for place in range(len(whole) - 1, 0, -1) if whole[place] == " ")]
        for end in ends:
            if _check("iban")(whole[:end]):
                if whole[:end].replace(" ", "").upper() not in EXAMPLE_IBANS:
                    yield found.start(), found.start() + end
                break


def ids(text: str) -> Iterator[Span]:
    if not any(map(str.isdigit, text)):
        return
    cues = [found.end() for found in _CUE.finditer(text)]
    for each in _IDS:
        if each.cued and not cues:
            continue
        for found in each.form.finditer(text):
            plain = re.sub(r"[^0-9A-Z]", "", found[0])
            if each.cued and not any(0 <= found.start() - cue <= _BEFORE for cue in _near(cues, found.start())):
                continue
            if plain not in EXAMPLE_IDS and len(set(plain)) > 2 and _check(each.module)(found[0].replace(" ", "")):
                yield found.span()
    for found in _DOCUMENT.finditer(text):
        if found[1] not in EXAMPLE_IDS and not _DATE.match(found[1]):
            yield found.span(1)


def _near(cues: list[int], place: int) -> list[int]:
    """The last cue that ends before a place."""
    from bisect import bisect_right

    number = bisect_right(cues, place)
    return cues[number - 1 : number]


@cache
def _check(module: str) -> Callable[[str], bool]:
    if not module:
        return bool
    checked: Callable[[str], bool] = import_module(f"stdnum.{module}").is_valid
    return checked


def ips(text: str) -> Iterator[Span]:
    for found in _IP4.finditer(text):
        if _is_public(found[0]) and _is_no_version(text, found):
            yield found.span()
    for found in _IP6.finditer(text):
        if _is_public(found[0]):
            yield found.span()


def _is_no_version(text: str, found: re.Match[str]) -> bool:
    if _VERSION.search(text, max(0, found.start() - 24), found.start()):
        return False
    large = sum(int(octet) >= _LARGE_OCTET for octet in found[0].split("."))
    return large > 1 or _IP_CUE.search(text, max(0, found.start() - 24), found.start()) is not None


def _is_public(address: str) -> bool:
    try:
        read = ipaddress.ip_address(address)
    except ValueError:
        return False
    return read.is_global and not read.is_multicast and str(read) not in PUBLIC_SERVERS
