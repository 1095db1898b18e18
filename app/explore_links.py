"""Links to the page Explore with images selected there.

A condition is a text: `class:2`, `predicted:5`, `blackbox:1`, `attribute:Hat`, `without:Hat`, `wrong`, `right`,
`differ`, `prototype:2.0`, `split:test`. Images for which all hold are selected. The browser reads them
(app/assets/web/explore/selection.js).
"""

from __future__ import annotations

from urllib.parse import urlencode

from app.addresses import link
from app.selection import Selection
from app.state import query

PAGE, SELECT = "explore", "select"


def explore_address(*conditions: str, chosen: Selection | None = None, **more: str | int) -> str:
    """The address of Explore, relative to any page, with the images of some conditions.

    Args:
        conditions: all of them hold.
        chosen: model and prototypes; those of the sidebar when None.
        more: further parameters: `point`, `colour`, `picture`, …
    """
    selected = ((SELECT, condition) for condition in conditions)
    return f"{link(PAGE)}?{urlencode([*query(chosen, **more).items(), *selected])}"
