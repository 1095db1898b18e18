"""Names are text: what comes from users' files, as Markdown, charts, LaTeX and spreadsheets show it unchanged.

Class names, attribute names, folder names and error messages are untrusted. Each place that gives special characters a
meaning has one function here, and everything that writes to such a place uses it.
"""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import pandas as pd

# joins two letters without being seen: it parts what Streamlit replaces after Markdown was read (links, emoji, arrows)
JOINER = "\u2060"
# colours and cursor movements of terminals
_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\^_])")
# turns the order of letters around it, so that a name can pose as another
_BIDI = re.compile("[\u202a-\u202e\u2066-\u2069]")
_MARKDOWN = re.compile(
    r"[\\`*\[\]<&$|~]"  # mean something anywhere
    r"|(?<![^\W_])_+|_+(?![^\W_])"  # not between letters
    r"|:(?=[\w+-])"  # :red[…], :smile:, :material/…:
    r"|^(?:[#+=>-]|\d+(?=[.)]))"  # headings, lists, quotes
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
    """`text` on one line, with a sign in place of each character that steers a terminal or reverses letters."""
    return _BIDI.sub("�", "".join(_picture(letter) for letter in text))


def _picture(letter: str) -> str:
    if unicodedata.category(letter) not in ("Cc", "Zl", "Zp"):
        return letter
    return chr(0x2400 + ord(letter)) if letter < " " else "�"


def without_colours(text: str) -> str:
    """`text` as a terminal shows it, without its colours and movements of the cursor."""
    return _ANSI.sub("", text)


def markdown(text: str) -> str:
    """`text` for a place that reads Markdown (as Streamlit does, with its directives, emoji, formulas and links).

    It shows as it is, on one line: no emphasis, image, link, formula, icon or HTML comes of it.
    """
    parted = _ARROWS.sub(lambda arrow: arrow[0][0] + JOINER + arrow[0][1:], " ".join(plain(text).split()))
    return _MARKDOWN.sub(_escaped, _PARTED.sub(JOINER, parted))


def _escaped(match: re.Match[str]) -> str:
    return match[0] + "\\" if match[0].isdigit() else "".join("\\" + sign for sign in match[0])


def message(text: str) -> str:
    """An error message or a note for a place that reads Markdown: as `markdown`, with its lines and its `code`."""
    lines = [
        "".join(piece if at % 2 else _inside(piece) for at, piece in enumerate(re.split("(`[^`]+`)", line)))
        for line in without_colours(text).splitlines()
    ]
    return "  \n".join(line for line in lines if line.strip())


def _inside(text: str) -> str:
    """`markdown` of a part of a line: with the spaces at its ends."""
    if not text.strip():
        return text
    return " " * text[0].isspace() + markdown(text) + " " * text[-1].isspace()


def chart(text: str) -> str:
    """`text` for Plotly, which reads a part of HTML in names and labels, and `%{...}` in templates."""
    whole = plain(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return whole.replace("%{", "%&#123;")


def charts(names: Iterable[str]) -> list[str]:
    """`chart` of each name."""
    return [chart(name) for name in names]


def latex(text: str) -> str:
    """`text` for LaTeX: every special character by its command, at the beginning of a table row, too."""
    return "".join(_LATEX.get(letter, letter) for letter in plain(text))


def cell(value: Any) -> Any:
    """A value for a CSV file: a text that a spreadsheet would take for a formula gets an apostrophe in front.

    Numbers stay as they are, also those that are written as text.
    """
    if not isinstance(value, str) or not value.lstrip(" \ufeff").startswith(tuple(_FORMULA)):
        return value
    try:
        float(value)
    except ValueError:
        return "'" + value
    return value


def csv_text(rows: Iterable[Sequence[Any]]) -> str:
    """Rows as CSV, each value a `cell`; texts are quoted where one has a sign that other separators are made of."""
    cells = [[cell(value) for value in row] for row in rows]
    out = io.StringIO()
    csv.writer(out, lineterminator="\n", quoting=_quoting(value for row in cells for value in row)).writerows(cells)
    return out.getvalue()


def _quoting(values: Iterable[Any]) -> Literal[0, 2]:
    odd = any(isinstance(value, str) and any(sign in value for sign in ";\t\r") for value in values)
    return csv.QUOTE_NONNUMERIC if odd else csv.QUOTE_MINIMAL


def table_csv(table: pd.DataFrame, index: bool = False) -> str:
    """A table as CSV: its names and texts by `cell`, its numbers as pandas writes them.

    Args:
        table: with texts and numbers.
        index: write the row names as a first column, too.
    """
    import pandas as pd  # half a second, which no page needs before a download

    whole = table.reset_index() if index else table
    columns = [whole.iloc[:, at] for at in range(whole.shape[1])]
    is_text = [bool(column.map(lambda value: isinstance(value, str)).any()) for column in columns]
    safe = [column.astype(object).map(cell) if text else column for column, text in zip(columns, is_text, strict=True)]
    names = [cell(str(name)) for name in whole.columns]
    texts = [*names, *(value for column, text in zip(safe, is_text, strict=True) if text for value in column)]
    joined = pd.concat(safe, axis=1, keys=range(len(safe))) if safe else whole
    return str(joined.to_csv(index=False, header=names, quoting=_quoting(texts)))
