"""Personal data in texts: what is found in whatever spelling, and what only looks like it."""

import re
from importlib.resources import files

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from spavl.errors import MissingExtra
from spavl.stages.privacy import filter_text
from spavl.text.personal_data import Find, find_personal_data, redact, require_libraries
from spavl.text.personal_data.numbers import _IDS, _check
from spavl.text.personal_data.top_level_domains import TOP_LEVEL_DOMAINS

phonenumbers = pytest.importorskip("phonenumbers")
# Numbers with right check digits that the libraries' own documents print, or that are made here; they are nobody's.
FOUND = {
    "email": (
        "Write to jane.doe+news@univ-lyon.fr, please.",
        "<o'neil@mail.gov.ie>",
        "jane (at) gmx (dot) de",
        "jane[at]gmx.de",
        "jane at cs dot mit dot edu",
        "ｊａｎｅ＠ｇｍｘ．ｄｅ",
        "ja\u200bne@gm\u00adx.de",
        "JANE@GMX.DE",
        "mailto:jane@gmx.de?subject=x",
        "请发邮件至jane.roe@posteo.de联系我",
        "メールはjane.roe@posteo.deまで",
        "ask jane.roe@posteo.de—she",
        "_jane.roe@posteo.de_",
        "**jane.roe**@posteo.de",
        "jane.roe\\@posteo.de",
        "jane.roe&#64;posteo.de",
        "jane.roe&#x40;posteo&#46;de",
        "mailto:jane.roe%40posteo.de",
        '{"to": "jane.roe\\u0040posteo.de"}',
        "ana.perez@correo.com.py",
        "ion.popa@mail.md",
        "jane.roe@mail.com",
        "jane.roe@usa.mail.com",
        "jürgen@müller.de",
        "иван@почта.рф",
    ),
    "phone": (
        "(212) 736-5000",
        "call 212-736-5000 now",
        "1 212 736 5000",
        "+49 30 901820",
        "+33 1 42 68 53 00",
        "Tel.: 030 901820",
        "Phone: 020 7219 3000",
        "+４９ ３０ ９０１８２０",
        "+49\u00a030\u2011901820",
        "My phone number is 0171 4829173",
        "telephone number is: 0171 4829173",
        "Mobile no. is 0171 4829173",
        "cell number was 0171 4829173",
        "Phone: **0171 4829173**",
        "Phone: `0171 4829173`",
        "| Phone | 0171 4829173 |",
        "<td>Phone</td><td>0171 4829173</td>",
        "Phone:<br>0171 4829173",
        "Phone:\n0171 4829173",
        '{"phone": "0171 4829173"}',
        '{"phone_number": "0171 4829173"}',
        "Telefonnummer: 0171 4829173",
        "Mobilnummer: 0171 4829173",
        "我的电话13912345678",
        "手机号码：13912345678",
        "Phone: 503 284 7713",
    ),
    "card": (
        "4539 1488 0343 6467",
        "4539148803436467",
        "5425-2334-3010-9911",
        "3714 496353 98423",
        "4539.1488.0343.6467",
    ),
    "iban": (
        "DE44 5001 0517 5407 3249 31",
        "GB94BARC10201530093459",
        "IBAN: DE44500105175407324931.",
        "de44 5001 0517 5407 3249 31",
        "gb94barc10201530093459",
    ),
    "id": (
        "536-22-8726",
        "my SSN is 536228726",
        "RSSMRA85T10A562S",
        "cpf 390.533.447-05",
        "aadhaar 2341 2341 2346",
        "BSN: 111222333",
        "11010519491231002X",
        "passport no. C01X00T47".replace("C01X00T47", "C1234907"),
        "756.9217.0769.85",
        "NINO AB 12 34 56 C",
        "身份证号11010519491231002X",
        "护照号码E12349074",
        "SSN 536 90 4399",
        "ssn: 536904399",
        "SSN536-90-4399",
        '{"passport": "C4829173"}',
        "Passport: **C4829173**",
    ),
    "ip": ("93.184.216.34", "from 209.85.212.52 port 22", "2a02:8070:8183:7f00::1f"),
    "address": (
        "4821 Oak Hollow Drive, Austin, TX 78745",
        "77 Massachusetts Ave\nCambridge, MA 02139",
        "14 Tottenham Court Road, London W1T 1JY",
        "Lindenstraße 12, 10969 Berlin",
        "12 rue des Lilas, 75011 Paris",
        "P.O. Box 4711, Reno, NV 89501",
        "Calle Mayor 3, 28013 Madrid",
        "2123 Main Street, Dallas, TX 75201",
        "4821 OAK HOLLOW DRIVE, AUSTIN, TX 78745",
        "4821 oak hollow drive, austin, tx 78745",
        "4521 Maple Avenue, Portland, OR",
        "12 Rue des Lilas, 75001 Paris",
        "Am Kirchberg 12, 10969 Berlin",
        "LINDENSTRASSE 12, 10969 BERLIN",
        "lindenstraße 12, 10969 berlin",
    ),
}
NOT_FOUND = (
    *("jane@example.com", "a@b.example", "root@localhost", "git@github.com:owner/name", "logo@2x.png", "user@host"),
    *("look at this. We go on dot by dot", "Meet me at noon dot", "@property", "a @ b", "price @ 3.50"),
    *("555-0123", "(212) 555-0123", "123-456-7890", "+1 555 0100", "1990-1995", "2024-01-15 12:30:45", "$2,345,678.00"),
    *("ISBN 978-0-306-40615-7", "10.1145/3366423.3380", "3.14159265358979323846", "DFARS 252.227-7013 (June 1995)"),
    *("4111 1111 1111 1111", "1234 5678 9012 3456", "0000 0000 0000 0000", "model X-4539148803436467", "1" * 10_000),
    *("GB82 WEST 1234 5698 7654 32", "123-45-6789", "000-12-3456", "666-12-3456", "sin=304193536", "pan 111222333"),
    *(
        "192.0.2.1",
        "10.0.0.1",
        "127.0.0.1",
        "8.8.8.8",
        "version 1.2.3.4",
        "libXi 1.5.99.3",
        "2:4:6:8:10:12:14:16",
        "12:30:45",
    ),
    *(
        "fe80::1",
        "2001:db8::1",
        "51 Franklin Street, Fifth Floor, Boston, MA 02110-1301, USA",
        "the 42nd Street of New York",
    ),
    *(
        "123 Main Street, Anytown, CA 12345",
        "Room 12 is on the way, 3 of 10",
        "uuid 550e8400-e29b-41d4-a716-446655440000",
    ),
    *("5 apples, 12 oranges, 300 g of flour and 10 eggs", "The year 2012345678 is far", "", "\u200b", "٠١٢٣٤٥"),
    *("The phone (2019-2023)", "Please call 2024-05-17", "Mobile 4096 2160", "cell: 0.7843219", "tel. 17.05.2024"),
    *("cell is 37.7749 122.4194", "batch 312 256 4096", "812 640 1280", "The scores were 212 300 4500"),
    *("q @ k.transpose(-2, -1)", "x @ w.shape", "weights @ layer.to(device)", "file@v2.pdf", "logo@large.tiff"),
    *("backup@daily.tar", "user-service@prod.cluster", "main@setup.py", "passport 20231105", "Version 45.33.12.40"),
    *("the value 4539.148803436467", '"PhoneNumber": "379361843b5e8a3d"', "123 MAIN ST, DALLAS, TX 75201"),
    *("12 people on the way home, OK", "3 cars on the way to the m4 2nd exit", "In 1998 Main Street, Dallas, TX"),
    "A red tractor in a field in 1998.",
)


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind, texts in FOUND.items() for text in texts])
def test_personal_data_is_found_in_many_spellings(kind: str, text: str) -> None:
    assert [find.kind for find in find_personal_data(text)] == [kind]


@pytest.mark.parametrize("text", NOT_FOUND, ids=range(len(NOT_FOUND)))
def test_what_only_looks_like_personal_data_is_left(text: str) -> None:
    assert find_personal_data(text) == []


def test_a_removed_value_is_gone_and_the_rest_is_not() -> None:
    text = "Ask jane.doe@univ-lyon.fr or (212) 736-5000; card 4539 1488 0343 6467."
    clean = redact(text, find_personal_data(text))
    assert clean == "Ask [email removed] or [phone removed]; card [card removed]."
    assert find_personal_data(clean) == []


def test_both_of_two_numbers_behind_one_word_are_found() -> None:
    for between in (" or ", ", ", " / ", " oder "):
        text = f"call 0171 4829173{between}0172 5829174."
        assert redact(text, find_personal_data(text)) == f"call [phone removed]{between}[phone removed]."


def test_marks_around_a_value_stay() -> None:
    for text, clean in (
        ("_jane.roe@posteo.de_", "_[email removed]_"),
        ("Phone: **0171 4829173**", "Phone: **[phone removed]**"),
        ("写信至jane.roe@posteo&#46;d&#101;。", "写信至[email removed]。"),
    ):
        assert redact(text, find_personal_data(text)) == clean


def test_a_number_with_a_wrong_check_digit_is_no_card_and_no_account() -> None:
    for text in ("4539 1488 0343 6466", "DE45 5001 0517 5407 3249 31", "390.533.447-06"):
        assert find_personal_data(text) == []


def test_a_find_does_not_hold_the_value() -> None:
    assert repr(find_personal_data("x jane@gmx.de")) == repr([Find("email", 2, 13)])


def test_every_check_that_is_named_is_in_the_library() -> None:
    assert all(callable(_check(each.module)) for each in _IDS)


def test_missing_libraries_are_told_with_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spavl.text.personal_data.find.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match="phonenumbers and stdnum") as told:
        require_libraries("privacy.texts")
    assert "pip install" in told.value.then


TEXTS = st.lists(
    st.sampled_from(
        [*(text for texts in FOUND.values() for text in texts), *NOT_FOUND[:40], "\n", " ", "word ", "1", "é"]
    )
    | st.text(max_size=20),
    max_size=6,
).map(" ".join)


@given(TEXTS)
def test_finds_are_in_order_apart_and_inside_the_text(text: str) -> None:
    finds = find_personal_data(text)
    places = [place for find in finds for place in (find.start, find.end)]
    assert places == sorted(places) and all(0 <= place <= len(text) for place in places)
    assert all(find.start < find.end for find in finds)
    # The words between are those of the text.
    clean = redact(text, finds)
    assert len(re.findall(r"\[\w+ removed\]", clean)) >= len(finds)


@given(TEXTS)
@example("passport no. C1234907 4821 Oak Hollow Drive, Austin, TX 78745 11010519491231002X")
def test_nothing_is_left_in_a_filtered_text(text: str) -> None:
    """What stood beside a value may be one itself after that value is gone."""
    assert find_personal_data(filter_text(text).text) == []


def test_the_ends_of_domains_are_those_of_ianas_list() -> None:
    """A copy of the list comes with hypothesis."""
    listed = files("hypothesis.vendor").joinpath("tlds-alpha-by-domain.txt").read_text().lower().split("\n")[1:]
    assert {name for name in listed if name and not name.startswith("xn--")} == set(TOP_LEVEL_DOMAINS)
