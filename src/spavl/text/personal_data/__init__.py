"""Finds personal data in texts: e-mail addresses, phone, card and id numbers, IP and postal addresses.

A find is checked and not only matched: card numbers by Luhn's formula and their issuer's lengths, IBANs and national
ids by their check digits (python-stdnum), phone numbers by their country's numbering plan (phonenumbers). Placeholders
such as `jane@example.com`, 555-0100 or 192.0.2.1 are no finds. Names alone are not looked for.
"""

from spavl.text.personal_data.find import (
    KINDS,
    VERSION,
    Find,
    Kind,
    find_personal_data,
    redact,
    require_libraries,
)

__all__ = ["KINDS", "VERSION", "Find", "Kind", "find_personal_data", "redact", "require_libraries"]
