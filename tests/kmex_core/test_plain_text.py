"""Names as text: what Markdown, charts, LaTeX and spreadsheets would make something of stays what it is."""

from __future__ import annotations

import csv
import io
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kmex_core.base import plain_text

JOINER = plain_text.JOINER


@pytest.mark.parametrize(
    ("name", "escaped"),
    [
        ("![x](http://foreign.example/a.png)", rf"!\[x\](http:{JOINER}//foreign.example/a.png)"),
        ("**b** :red[y]", r"\*\*b\*\* \:red\[y\]"),
        ("$x$", r"\$x\$"),
        (":material/home:", rf":{JOINER}material/home:"),
        ("<img src=x onerror=y>", r"\<img src=x onerror=y>"),
        # not listed: icons by their other name, emoji, links without brackets, addresses, entities, strikes, code,
        # tables, footnotes, arrows, headings, lists, quotes, underlined headings, emphasis by underscores
        (":material_home:", rf":{JOINER}material_home:"),
        (":smile: :+1:", rf":{JOINER}smile: :{JOINER}+1:"),
        (":streamlit:", rf":{JOINER}streamlit:"),
        ("www.foreign.example", f"www{JOINER}.foreign.example"),
        ("a@b.example", f"a@{JOINER}b.example"),
        ("&amp; &#42;", r"\&amp; \&#42;"),
        ("~a~ `b` |c|", r"\~a\~ \`b\` \|c\|"),
        ("[^1]: x", r"\[^1\]: x"),
        ("a -> b", f"a -{JOINER}> b"),
        ("# a", r"\# a"),
        ("- a", r"\- a"),
        ("+ a", r"\+ a"),
        ("1. a", r"1\. a"),
        ("> a", r"\> a"),
        ("===", r"\==="),
        ("_a_ __b__", r"\_a\_ \_\_b\_\_"),
        ("\\*a\\*", r"\\\*a\\\*"),
        ("a\nb\x1b[31m", r"a␊b␛\[31m"),
        ("\u202eevil", "�evil"),
        # what needs nothing stays
        ("resnet20_v2, 3.5 (digits-protopnet): 100%", "resnet20_v2, 3.5 (digits-protopnet): 100%"),
    ],
)  # fmt: skip
def test_markdown_means_nothing_in_a_name(name: str, escaped: str) -> None:
    assert plain_text.markdown(name) == escaped


@given(st.text(max_size=40), st.text(max_size=40))
def test_names_in_a_sentence_are_the_same_without_markdown(name: str, other: str) -> None:
    def shown(text: str) -> str:
        return " ".join(plain_text.plain(text).split()).replace(JOINER, "")

    sentence = f"It is **{plain_text.markdown(name)}**, not {plain_text.markdown(other)}."
    spans = [("It is ", False), (shown(name), True), (f", not {shown(other)}.", False)]
    assert plain_text.spans(sentence) == [(text, strong) for text, strong in spans if text]


def test_a_message_keeps_its_lines_and_its_code() -> None:
    text = "There is no model named '*a*'.\n`python -m *x* [y]` makes \x1b[31mone\x1b[0m ``."
    assert plain_text.message(text) == "There is no model named '\\*a\\*'.  \n`python -m *x* [y]` makes one \\`\\`."


def test_a_document_escapes_by_references_and_a_message_keeps_its_code() -> None:
    assert (
        plain_text.document("a_b *c* <i> [d](e) {#x} |")
        == "a_b &#42;c&#42; &#60;i&#62; &#91;d&#93;(e) &#123;#x&#125; &#124;"
    )
    assert plain_text.document("1. a\n- b") == "&#49;. a␊- b"
    assert plain_text.document("2.0 of http://x.y, Table 3: z") == "2.0 of http&#58;//x.y, Table 3: z"
    assert (
        plain_text.document_message("Run `kmex *x*` or `a|b` on *y*.")
        == "Run `kmex *x*` or &#96;a&#124;b&#96; on &#42;y&#42;."
    )


def test_charts_show_no_html_and_fill_in_no_template() -> None:
    assert plain_text.chart("<a href='x'>%{x}</a> & <b>") == ("&lt;a href='x'&gt;%&#123;x}&lt;/a&gt; &amp; &lt;b&gt;")
    assert plain_text.charts(["a  b", "a b"]) == ["a  b", "a b"]  # categories stay apart


def test_latex_has_a_command_for_every_special_character() -> None:
    assert plain_text.latex(r"\ ~ ^ < > | { } & % $ # _ [1pt] * ± ↑") == (
        r"\textbackslash{} \textasciitilde{} \textasciicircum{} \textless{} \textgreater{} \textbar{} "
        r"\{ \} \& \% \$ \# \_ {[}1pt{]} {*} $\pm$ $\uparrow$"
    )
    assert "\n" not in plain_text.latex("a\n\\input{/etc/passwd}")


@pytest.mark.parametrize(
    "name", ["=cmd|' /C calc'!A0", "+1+1", "-2+3", "@SUM(A1)", "\t=1", "\r=1", " =1", "\ufeff=1", "＝1+1", "\n=1"]
)
def test_no_cell_is_a_formula(name: str) -> None:
    table = pd.DataFrame({"class": [name, "plain"], name: [-0.5, 1.0], "count": [1, 2]})
    rows = list(csv.reader(io.StringIO(plain_text.table_csv(table), newline="")))
    assert rows[0] == ["class", "'" + name, "count"]
    assert rows[1] == ["'" + name, "-0.5", "1"]
    assert rows[2] == ["plain", "1.0", "2"]
    assert plain_text.csv_text([[name, -1, "-1", "+0.5"]]).startswith(("'", "\"'"))


def test_numbers_written_as_text_stay_numbers() -> None:
    assert [plain_text.cell(value) for value in ("-1", "+0.5", "-1e-3", -1, 0.5, None, "")] == [
        "-1",
        "+0.5",
        "-1e-3",
        -1,
        0.5,
        None,
        "",
    ]


def test_other_separators_start_no_new_cell() -> None:
    for text in (plain_text.table_csv(pd.DataFrame({"class": ["a;=1+1", "b\t@x"]})), plain_text.csv_text([["a;=1"]])):
        assert re.search(r"(?m)^[^\"\n]*[;\t]", text) is None, text


def test_tables_of_any_kind_are_written() -> None:
    assert plain_text.table_csv(pd.DataFrame()).strip() in ("", '""')
    counts = pd.DataFrame(np.eye(2, dtype=int), index=pd.Index(["=a", "b"], name="class"), columns=["=a", "b"])
    assert plain_text.table_csv(counts, index=True) == "class,'=a,b\n'=a,1,0\nb,0,1\n"
    category = pd.DataFrame({"class": pd.Categorical(["=a", None]), "n": [1, 2]})
    assert plain_text.table_csv(category) == "class,n\n'=a,1\n,2\n"
    twice = pd.DataFrame([["=a", 1, "b"]], columns=["x", "x", "x"])
    assert plain_text.table_csv(twice) == "x,x,x\n'=a,1,b\n"
