"""A picture on a page, without loss: JPEG, which Streamlit takes by itself, blurs pictures of few pixels."""

from __future__ import annotations

import numpy as np
import streamlit as st

from kmex_core.base.plain_text import markdown
from kmex_core.data.display import displayed


def show_picture(
    pixels: np.ndarray,
    about: str,
    *,
    caption: str = "",
    side: int = 0,
    width: int | str = "stretch",
    place: st.delta_generator.DeltaGenerator | None = None,
) -> None:
    """Show a picture: small ones with crisp pixels, large ones reduced.

    Args:
        pixels: (H, W), (H, W, 1) or (H, W, 3) uint8.
        about: what it shows, for those who do not see it.
        caption: below it, a text.
        side: the longer side in pixels, at least.
        width: as in `st.image`.
        place: where to show it; here when None.
    """
    shown = displayed(pixels, side)
    (place or st).image(shown, caption=markdown(caption) or None, alt=about, width=width, output_format="PNG")  # type: ignore[arg-type]
