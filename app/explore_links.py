"""Links to the page Explore with images selected there."""

from __future__ import annotations

from urllib.parse import urlencode

from app.addresses import link
from app.state import query

PAGE = "explore"


def explore_query(*conditions: str, **more: str | int) -> dict[str, str | list[str]]:
    """What a link to Explore needs to show this selection of model and source, with images selected.

    Args:
        conditions: that all hold for the selected images: "class:2", "predicted:5", "split:test".
        more: other parameters of the page.
    """
    return {**query(**more), **({"select": list(conditions)} if conditions else {})}


def explore_address(*conditions: str, **more: str | int) -> str:
    """The address of `explore_query`, relative to any page."""
    return f"{link(PAGE)}?{urlencode(explore_query(*conditions, **more), doseq=True)}"
