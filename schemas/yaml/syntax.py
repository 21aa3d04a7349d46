"""What the YAML parser says about broken syntax, and what is likely meant by it."""

from __future__ import annotations

import yaml

_AT_CONTEXT = {
    "while scanning a quoted scalar": "the quote that opens here is not closed",
    "while scanning a simple key": "no ': ' follows this key; write key: value",
}
"""What is best shown where the parser began, not where it gave up."""

_HINTS = {
    "mapping values are not allowed": "quote a value that has ': ' in it, put a space behind each colon, "
    "and begin the keys of one block in one column",
    "did not find expected key": "begin keys of one block in one column, and nothing behind a closed quote",
    "found unknown escape character": "in double quotes \\\\ begins an escape; use single quotes",
    "did not find expected alphabetic": "* and & begin an alias and an anchor; quote a value that begins so",
    "did not find expected ',' or": "a comma or the closing bracket is missing",
    "did not find expected node content": "a value or the closing bracket is missing",
}
"""How the parser's words begin -> what would be right."""


def explained(error: yaml.MarkedYAMLError, text: str) -> tuple[int, str]:
    """Where in ``text`` the parser's complaint is best shown, and what to say there."""
    mark = error.problem_mark or error.context_mark
    index = min(mark.index, len(text)) if mark else 0
    at = text[index : index + 1]
    if at == "\t":
        return index, "a tab cannot stand here; indent with spaces"
    if (error.context or "") in _AT_CONTEXT and error.context_mark and "escape" not in (error.problem or ""):
        return error.context_mark.index, _AT_CONTEXT[error.context or ""]
    if (error.problem or "").startswith("found character that cannot start any token"):
        return index, f"a plain value cannot begin with {at}; quote it"
    words = " ".join(filter(None, (error.problem, error.context))) or "not valid YAML"
    hint = next((hint for start, hint in _HINTS.items() if words.startswith(start)), "")
    return index, f"{words}; {hint}" if hint else words
