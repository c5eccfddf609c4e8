"""What may stand between a word for a number and the number: signs, quotes, and marks of Markdown, HTML and JSON."""

_SIGNS = r"[\s\"'`*_|.:#=()~\\-]{0,6}"
GAP = rf"{_SIGNS}(?:<[^<>\n]{{1,40}}>{_SIGNS}){{0,3}}"
