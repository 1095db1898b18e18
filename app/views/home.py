"""Home: what the product is for, three ways to begin, and the models of the store."""

from __future__ import annotations

import streamlit as st

from app import read
from app.components.home.doors import show_doors
from app.components.home.how import show_how
from app.components.home.models import show_models
from app.components.shared.title import PRODUCT
from app.wording import message

infos, damaged = read.models_and_damaged()

st.set_page_config(page_title=PRODUCT)
st.title(PRODUCT, anchor=False)
st.markdown(
    "For people who train or audit image classifiers: see what a network has learned, and explain each prediction by "
    "the training images that it looks like."
)
for words in damaged:
    st.warning(message(words))
show_doors(infos)
show_how()
show_models(infos)
