"""The error rates of the data card and of docs/privacy.md, measured again on the libraries' own examples."""

import re
from collections.abc import Sequence
from doctest import DocTestParser
from importlib import import_module

import pytest

from spavl.publishing.privacy import TEXT_RATES
from spavl.text.personal_data import find_personal_data
from spavl.text.personal_data.numbers import _IDS

phonenumbers = pytest.importorskip("phonenumbers")
pytest.importorskip("stdnum")
RATES = {rate.what: (rate.hits, rate.n) for rate in TEXT_RATES}
# What a module of python-stdnum shows at its top, such as validate('...').
_SHOWN = re.compile(r"""(?:validate|is_valid|format|compact)\((['"])(.+?)\1\)""")


def missed(kind: str, texts: Sequence[str]) -> tuple[int, int]:
    return sum(kind not in {find.kind for find in find_personal_data(text)} for text in texts), len(texts)


def example_numbers(form: int) -> list[str]:
    """The library's example of a landline and of a mobile number of every country, as they are written there."""
    kinds = (phonenumbers.PhoneNumberType.FIXED_LINE, phonenumbers.PhoneNumberType.MOBILE)
    found = [
        phonenumbers.example_number_for_type(region, kind)
        for region in sorted(phonenumbers.SUPPORTED_REGIONS)
        for kind in kinds
    ]
    return [phonenumbers.format_number(number, form) for number in found if number]


def test_phone_numbers_are_missed_as_often_as_said() -> None:
    international = example_numbers(phonenumbers.PhoneNumberFormat.INTERNATIONAL)
    national = example_numbers(phonenumbers.PhoneNumberFormat.NATIONAL)
    assert missed("phone", international) == RATES["phone numbers with a country code missed"]
    named = [f"Phone: {number}" for number in national]
    assert missed("phone", named) == RATES["others behind a word such as phone missed"]
    assert missed("phone", national) == RATES["others without such a word missed"]


def test_ids_are_missed_as_often_as_said() -> None:
    numbers = []
    for name in sorted({each.module for each in _IDS if each.module}):
        module = import_module(f"stdnum.{name}")
        shown = [_SHOWN.match(example.source) for example in DocTestParser().get_examples(module.__doc__)]
        numbers += dict.fromkeys(each[2] for each in shown if each and module.is_valid(each[2]))
    texts = [f"identity number {number}" for number in numbers]
    assert missed("id", texts) == RATES["ids behind a word for an id missed"]
