"""Three ways to begin, as large cards that are one link each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import streamlit as st

from app.components.home.models import newest_first
from app.components.shared.tour import begin_tour
from kmex_core.base.plain_text import markdown
from kmex_core.models.info import ModelInfo

PICTURES = Path(__file__).resolve().parents[2] / "assets" / "home"  # `tools/demo.py` draws them


def show_doors(infos: Sequence[ModelInfo]) -> None:
    """Show the ways to the demo, to the explanation of a picture and to a new model, and the one to the tour.

    Args:
        infos: the models in the store, in display order.
    """
    demo = next((info for info in infos if info.embedded), None)
    own = next((info for info in newest_first(infos) if not info.embedded), None)
    first, second, third = st.columns(3)
    if demo is not None:
        with first:
            _door(
                "demo",
                "Look at a demo",
                "Drawn faces by age group. See what a small network made of them, and where it fails.",
                "views/explore.py",
                "A map of drawn faces in three groups, with the prototypes of each as larger pictures",
                {"model": demo.name},
            )
    if (explained := own or demo) is not None:
        with second:
            _door(
                "explain",
                "Explain my picture",
                "Drop a picture, and see which training images it looks like to the model "
                f"**{markdown(explained.name)}**, and where.",
                "views/explain.py",
                "A drawn face, and two training images that it looks like",
                {"model": explained.name, "source": "Upload"},
            )
    with third:
        _door(
            "new",
            "Open my model",
            "A classifier or encoder of PyTorch, timm, Hugging Face or ONNX, and a folder of your images.",
            "views/new.py",
            "Folders of pictures that go into a network and come out as prototypes",
        )
    if demo is not None and st.button("Take the 60-second tour", icon=":material/tour:", type="tertiary"):
        begin_tour()
        st.switch_page("views/explore.py", query_params={"model": demo.name})


def _door(name: str, title: str, about: str, page: str, alt: str, query: Mapping[str, str] | None = None) -> None:
    """A card; its link fills it (style.css), so that all of it can be clicked and it is read as one link."""
    with st.container(border=True, key=f"door-{name}", gap="xsmall", height="stretch"):
        st.image(PICTURES / f"{name}.png", alt=alt, width="stretch", output_format="PNG")
        st.page_link(
            page, label=f"**{title}**", icon=":material/arrow_forward:", icon_position="right", query_params=query
        )
        st.markdown(about)
