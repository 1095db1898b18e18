"""Confusions: which classes are taken for which others."""

from __future__ import annotations

import numpy as np
import pandas as pd
import streamlit as st

from app import read
from app.components.shared.preparation import prepare
from app.components.shared.title import show_title
from app.state import selection
from kmex_core import metrics

chosen = selection()
info = chosen.model

show_title("Confusions")
st.markdown("Pairs of classes that the model confuses on the test split, the most frequent first.")
prepare(info)
predicted = read.conversion(chosen).test_predicted
labels = read.embeddings(info, "test").labels
counts = metrics.confusion(predicted, labels, len(info.class_names))  # (C, C), a row per true class
np.fill_diagonal(counts, 0)  # correct predictions
names = np.array(info.class_names)
true, wrong = np.nonzero(counts)
table = pd.DataFrame({"class": names[true], "taken for": names[wrong], "images": counts[true, wrong]})
st.dataframe(table.sort_values("images", ascending=False), hide_index=True)
