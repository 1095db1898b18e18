"""What the page Attributes says for a data set without attributes."""

from __future__ import annotations

import streamlit as st

from app.selection import Selection
from kmex_core.base.plain_text import markdown


def explain_missing(chosen: Selection) -> None:
    """Explain how to add attributes to a data set that has none."""
    st.info(
        f"The data set of **{markdown(chosen.model.name)}** has no attributes. Select **Faces** in the sidebar, which "
        "has "
        "30, or add attributes to your own data set:",
        icon=":material/label_off:",
    )
    st.markdown(
        "- Image folders: put `attributes.csv` beside `train/`, with a column `file_name` (`train/cat/1.png`) "
        "and one column per attribute (yes/no, true/false, 1/0 or 1/−1).\n"
        "- Parquet files: boolean columns beside `image` and `label` are attributes.\n"
        "- CelebA: use `--dataset celeba` once its files are in the data root.\n\n"
        "`--class COLUMN` makes a column the class to predict."
    )
    st.code(
        "python -m kmex_core train --dataset FOLDER --class COLUMN --backbone resnet18 --name mine",
        language=None,
        wrap_lines=True,
    )
