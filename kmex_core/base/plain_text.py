"""Escaping of untrusted text for Markdown, charts, LaTeX, YAML and spreadsheets: they show it unchanged.

Class names, attribute names, folder names and error messages are untrusted. Each kind of output that interprets special
characters has one function here, and everything that writes such output uses it.
"""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import pandas as pd

# invisible; separates what Streamlit replaces after parsing Markdown (links, emoji, arrows)
JOINER = "\u2060"
# colours and cursor movements of terminals
_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\^_])")
# reverses the order of letters: a name could pose as another
_BIDI = re.compile("[\u202a-\u202e\u2066-\u2069]")
_MARKDOWN = re.compile(
    r"[\\`*\[\]<&$|~]"  # mean something anywhere
    r"|(?<![^\W_])_+|_+(?![^\W_])"  # not between letters
    r"|:(?=[\w+-])"  # :red[…], :smile:, :material/…:
    r"|^(?:[#+=>-]|\d+(?=[.)]))"  # headings, lists, quotes
)
_DOCUMENT = re.compile(
    r"[\\`*\[\]{}<>&$|~]"  # mean something anywhere
    r"|(?<![^\W_])_+|_+(?![^\W_])"  # not between letters
    r"|:(?=[\w+/-])|(?<=[wW]{3})\.|@(?=[\w-])"  # emoji, addresses
    r"|^(?:[#+=!-]|\d+(?=[.)](?:\s|$)))"  # headings, lists, boxes
)
_PARTED = re.compile(r"(?<=:)(?=//|[\w+-][\w+/-]*:)|(?<=[wW]{3})(?=\.)|(?<=@)(?=[\w-])")
_ARROWS = re.compile(r"(?<!\S)(<->|->|<-|--|>=|<=|~=)(?!\S)")
_LATEX = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}",
    ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"\textquotedbl{}", "[": "{[}", "]": "{]}", "*": "{*}",
    "±": r"$\pm$", "↑": r"$\uparrow$", "↓": r"$\downarrow$", "–": "--", "−": "$-$",
} | {sign: "\\" + sign for sign in "%_&#${}"}  # fmt: skip
_FORMULA = "=+-@\t\r\n＝＋－＠"


def plain(text: str) -> str:
    """`text` on one line, with a symbol for each character that controls a terminal or reverses letters."""
    return _BIDI.sub("�", "".join(_picture(letter) for letter in text))


def _picture(letter: str) -> str:
    if unicodedata.category(letter) not in ("Cc", "Zl", "Zp"):
        return letter
    return chr(0x2400 + ord(letter)) if letter < " " else "�"


def utf8(text: str) -> str:
    """`text` with a "?" for each character that UTF-8 cannot encode: bytes of a file's name that are no text."""
    return text.encode("utf-8", "replace").decode("utf-8")


def writable(text: str) -> str:
    """`text` as `plain`, with a symbol for each character that UTF-8, YAML or XML does not have."""
    return re.sub("[\ufffe\uffff]", "�", plain(utf8(text)))


def without_colours(text: str) -> str:
    """`text` without a terminal's colour and cursor codes."""
    return _ANSI.sub("", text)


def markdown(text: str) -> str:
    """`text` escaped for Markdown (Streamlit's, with directives, emoji, formulas and links).

    It is shown literally, on one line: no emphasis, image, link, formula, icon or HTML.
    """
    parted = _ARROWS.sub(lambda arrow: arrow[0][0] + JOINER + arrow[0][1:], " ".join(plain(text).split()))
    return _MARKDOWN.sub(_escaped, _PARTED.sub(JOINER, parted))


def _escaped(match: re.Match[str]) -> str:
    return match[0] + "\\" if match[0].isdigit() else "".join("\\" + sign for sign in match[0])


def document(text: str) -> str:
    """`text` escaped for Markdown files that other programs show, by character references: which characters a backslash
    escapes differs between them.

    It is shown literally, on one line, also in a table and at the beginning of a paragraph.
    """
    return _DOCUMENT.sub(
        lambda match: "".join(f"&#{ord(sign)};" for sign in match[0]), " ".join(writable(text).split())
    )


def document_message(text: str) -> str:
    """A message or a note as `document`, but keeping `code` that has no bar, at which a cell of a table would end."""
    pieces = re.split("(`[^`]+`)", without_colours(text))
    return "".join(
        writable(piece) if number % 2 and "|" not in piece else _spaced(piece, document)
        for number, piece in enumerate(pieces)
    )


def spans(text: str) -> list[tuple[str, bool]]:
    """A sentence of Markdown for what shows no Markdown: its parts, and whether each is strong.

    Args:
        text: with no markup but `**`, and its names escaped by `markdown`.
    """
    found, strong, part = [], False, ""
    for sign in [*re.findall(r"\\.|\*\*|.", text.replace(JOINER, ""), re.DOTALL), "**"]:
        if sign == "**":
            found.append((part, strong))
            strong, part = not strong, ""
        else:
            part += sign[-1]
    return [(part, strong) for part, strong in found if part]


def message(text: str) -> str:
    """An error message or a note escaped for Markdown: as `markdown`, but keeping line breaks and `code`."""
    lines = [
        "".join(
            piece if number % 2 else _spaced(piece, markdown)
            for number, piece in enumerate(re.split("(`[^`]+`)", line))
        )
        for line in without_colours(text).splitlines()
    ]
    return "  \n".join(line for line in lines if line.strip())


def _spaced(text: str, escaped: Callable[[str], str]) -> str:
    """A part of a line escaped, keeping the spaces at both ends."""
    if not text.strip():
        return text
    return " " * text[0].isspace() + escaped(text) + " " * text[-1].isspace()


def chart(text: str) -> str:
    """`text` escaped for Plotly, which interprets some HTML in names and labels, and `%{...}` in templates."""
    whole = plain(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return whole.replace("%{", "%&#123;")


def charts(names: Iterable[str]) -> list[str]:
    """`chart` of each name."""
    return [chart(name) for name in names]


def latex(text: str) -> str:
    """`text` escaped for LaTeX, also at the beginning of a table row."""
    return "".join(_LATEX.get(letter, letter) for letter in plain(text))


def yaml(text: str) -> str:
    """`text` as a quoted YAML string on one line, which no reader takes for a number, a date or anything else."""
    whole = writable(text)
    return '"' + whole.replace("\\", "\\\\").replace('"', '\\"') + '"'


def cell(value: Any) -> Any:
    """A value for a CSV file: text that a spreadsheet would read as a formula gets a leading apostrophe.

    Numbers are unchanged, including those written as text.
    """
    if not isinstance(value, str) or not value.lstrip(" \ufeff").startswith(tuple(_FORMULA)):
        return value
    try:
        float(value)
    except ValueError:
        return "'" + value
    return value


def csv_text(rows: Iterable[Sequence[Any]]) -> str:
    """Rows as CSV, each value a `cell`; texts are quoted if one contains a separator used by other CSV dialects."""
    cells = [[cell(value) for value in row] for row in rows]
    out = io.StringIO()
    csv.writer(out, lineterminator="\n", quoting=_quoting(value for row in cells for value in row)).writerows(cells)
    return out.getvalue()


def _quoting(values: Iterable[Any]) -> Literal[0, 2]:
    odd = any(isinstance(value, str) and any(sign in value for sign in ";\t\r") for value in values)
    return csv.QUOTE_NONNUMERIC if odd else csv.QUOTE_MINIMAL


def table_csv(table: pd.DataFrame, index: bool = False) -> str:
    """A table as CSV: names and texts by `cell`, numbers as pandas writes them.

    Args:
        table: of texts and numbers.
        index: write the row names as the first column.
    """
    import pandas as pd  # half a second, which no page needs before a download

    whole = table.reset_index() if index else table
    columns = [whole.iloc[:, number] for number in range(whole.shape[1])]
    is_text = [bool(column.map(lambda value: isinstance(value, str)).any()) for column in columns]
    safe = [column.astype(object).map(cell) if text else column for column, text in zip(columns, is_text, strict=True)]
    names = [cell(str(name)) for name in whole.columns]
    texts = [*names, *(value for column, text in zip(safe, is_text, strict=True) if text for value in column)]
    joined = pd.concat(safe, axis=1, keys=range(len(safe))) if safe else whole
    return str(joined.to_csv(index=False, header=names, quoting=_quoting(texts)))
