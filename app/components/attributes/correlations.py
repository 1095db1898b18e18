"""The tab Correlations: whether attributes co-occur among the prototypes as they do in the data."""

from __future__ import annotations

import math

import numpy as np
import streamlit as st

from app import read
from app.claims import attributes as claims
from app.components.attributes.covered import TRAINING, file_name, signed
from app.components.shared.downloads import show_download
from app.components.shared.matrix import MOST_CELLS, Cell, Head, Row, Section, show_matrix
from app.selection import Selection
from kmex_core import metrics
from kmex_core.analysis.coverage import Coverage, correlated_order
from kmex_core.analysis.tables.attributes import correlation_table

LARGEST = 10
SHOWN = 0.1  # correlations nearer to 0 have no number in their cell


def show_correlations(chosen: Selection, coverage: Coverage) -> None:
    """Show the pairs whose correlation differs most, then all correlations."""
    table = correlation_table(coverage)
    st.markdown(claims.correlations_against_chance(table, _limit(coverage)))
    st.subheader("Largest differences", anchor=False)
    _show_largest(chosen, coverage)
    st.subheader("All pairs", anchor=False)
    _show_all(chosen, coverage)
    show_download("Correlations as CSV", table, f"{file_name(chosen)}-correlations.csv")


def _limit(coverage: Coverage) -> float:
    return metrics.simultaneous_limit(coverage.chance.deviation_correlation)


def _show_largest(chosen: Selection, coverage: Coverage) -> None:
    table = correlation_table(coverage)
    table["difference"] = table["prototypes"] - table["images"]
    order = table["difference"].abs().sort_values(ascending=False, kind="stable").index[:LARGEST]
    rows = []
    for row in table.loc[order].to_dict("records"):
        rows.append(
            Row(
                f"{claims.words(row['attribute'])} + {claims.words(row['other'])}",
                [
                    Cell(signed(row["images"], 2), tint=row["images"]),
                    Cell(signed(row["prototypes"], 2), tint=row["prototypes"]),
                    Cell(signed(row["difference"], 2)),
                    Cell(
                        "beyond chance" if row["beyond_chance"] else "within chance", strong=bool(row["beyond_chance"])
                    ),
                ],
                about=claims.of_pair(row),
                conditions=[f"attribute:{row['attribute']}", f"attribute:{row['other']}", TRAINING],
            )
        )
    heads = [
        Head("Images", "correlation"),
        Head("Prototypes", "correlation"),
        Head("Difference", f"chance ±{_limit(coverage):.2f}"),
        Head("Verdict"),
    ]
    info = chosen.model
    about = "The pairs of attributes whose correlation differs most"
    show_matrix("largest", about, "Pair", heads, [Section(rows)], info, read.dataset(info).fingerprint)


def _show_all(chosen: Selection, coverage: Coverage) -> None:
    """Show one matrix: the training images below the diagonal, the prototypes above it."""
    info = chosen.model
    order = correlated_order(coverage.correlation)
    most = math.isqrt(MOST_CELLS)
    shown = order[:most]
    left_out = f" The first {most} of {len(order)} attributes; the CSV file has all." if len(order) > most else ""
    st.caption(
        "Below the diagonal: correlations (φ, −1 to 1) among the training images. Above it: among the prototypes' "
        "exemplars; framed where the two differ beyond chance. Blue: the attributes occur together; orange: one "
        "without the other. Correlated attributes are side by side. Click a cell to open the images with both."
        f"{left_out}"
    )
    names = [coverage.names[attribute] for attribute in shown]
    difference = np.abs(coverage.correlation_prototypes - coverage.correlation)
    beyond = difference > _limit(coverage)
    rows = []
    for i, (attribute, name) in enumerate(zip(shown.tolist(), names, strict=True)):
        cells = []
        for j, other in enumerate(shown.tolist()):
            if i == j:
                cells.append(Cell("–"))
                continue
            among = coverage.correlation_prototypes if j > i else coverage.correlation
            value = float(among[attribute, other])
            pair = {
                "attribute": name,
                "other": coverage.names[other],
                "images": coverage.correlation[attribute, other],
                "prototypes": coverage.correlation_prototypes[attribute, other],
                "beyond_chance": beyond[attribute, other],
            }
            cells.append(
                Cell(
                    signed(value) if abs(value) >= SHOWN else "",
                    about=claims.of_pair(pair),
                    conditions=[f"attribute:{name}", f"attribute:{coverage.names[other]}", TRAINING],
                    tint=value if abs(value) >= SHOWN else 0.0,
                    strong=bool(j > i and beyond[attribute, other]),
                )
            )
        rows.append(Row(claims.words(name), cells, conditions=[f"attribute:{name}", TRAINING]))
    heads = [Head(claims.words(name), upright=True, conditions=[f"attribute:{name}", TRAINING]) for name in names]
    about = f"Correlations of {len(names)} attributes among images and prototypes"
    show_matrix("correlations", about, "Attribute", heads, [Section(rows)], info, read.dataset(info).fingerprint)
