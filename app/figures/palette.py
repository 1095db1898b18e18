"""Every colour of the dashboard, once: of figures, pages and components; those of classes are the engine's.

Styles and JavaScript take them from `custom_properties`. Streamlit's settings and the logo, which cannot, repeat some;
`test_palette` compares them.
"""

from __future__ import annotations

from dataclasses import dataclass

# what is always drawn alike; like the classes' colours, each stands out from both pages by at least 3:1 (WCAG 1.4.11)
KMEX, BLACK_BOX, GHOST, CHOSEN = "#2f7fbf", "#7a7a7a", "#c2570c", "#c9731c"
OUTLINE = "#222222"  # around marks
TRANSPARENT = "rgba(0,0,0,0)"


@dataclass(frozen=True)
class Theme:
    """The colours of a page.

    Attributes:
        page: its background.
        ink: of text in pictures.
        accent: of text that stands out.
    """

    page: str
    ink: str
    accent: str


LIGHT = Theme(page="#ffffff", ink="#31333f", accent="#2f6f9f")
# Streamlit's primary colour carries white text on a dark page, and is too dark for text of its own (WCAG 1.4.3)
DARK = Theme(page="#171614", ink="#fafafa", accent="#8cc4f2")
_STYLES = {
    "neutral": "#808080",  # of lines and surfaces, mostly transparent
    "shadow": "#000000",
    "share": "#3f8fcf",
    "ghost": GHOST,
    "chosen": CHOSEN,
    "ink": f"light-dark({LIGHT.ink}, {DARK.ink})",
    "page": f"light-dark({LIGHT.page}, {DARK.page})",
    "accent": f"light-dark({LIGHT.accent}, {DARK.accent})",
}


def custom_properties() -> str:
    """The colours that styles and JavaScript use, as CSS: `--kx-ghost` and so on."""
    return ":root {" + " ".join(f"--kx-{name}: {colour};" for name, colour in _STYLES.items()) + "}"
