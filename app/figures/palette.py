"""Every colour of the dashboard, once: of figures and components; those of classes and of pages are the engine's.

Styles and JavaScript take them from `custom_properties`. Streamlit's settings and the logo, which cannot, repeat some;
`test_palette` compares them.
"""

from __future__ import annotations

from kmex_core.data.colours import DARK, LIGHT

# what is always drawn alike; like the classes' colours, each stands out from both pages by at least 3:1 (WCAG 1.4.11)
KMEX, BLACK_BOX, GHOST, CHOSEN = "#2f7fbf", "#7a7a7a", "#c2570c", "#c9731c"
OUTLINE = "#222222"  # around marks
TRANSPARENT = "rgba(0,0,0,0)"
# on the map: what is as expected, what is wrong, what is not known, and six steps from low to high
_PLAIN, _WRONG, _UNKNOWN = ("#8b98a5", "#8494a3"), ("#b3211a", "#ff9a85"), ("#cdd2d7", "#40474e")
_STEPS = (
    ("#c98718", "#b06a10"),
    ("#86912b", "#8f9a1c"),
    ("#2c965d", "#3aa267"),
    ("#007e80", "#00bebf"),
    ("#005b8f", "#61ceff"),
    ("#2c317f", "#c5d7ff"),
)
_STYLES = {
    "neutral": "#808080",  # of lines and surfaces, mostly transparent
    "shadow": "#000000",
    "light": LIGHT.page,  # over pictures, beside `outline`
    "outline": OUTLINE,
    "share": "#3f8fcf",
    "ghost": GHOST,
    "chosen": CHOSEN,
    "ink": f"light-dark({LIGHT.ink}, {DARK.ink})",
    "page": f"light-dark({LIGHT.page}, {DARK.page})",
    "accent": f"light-dark({LIGHT.accent}, {DARK.accent})",
    "plain": f"light-dark({_PLAIN[0]}, {_PLAIN[1]})",
    "wrong": f"light-dark({_WRONG[0]}, {_WRONG[1]})",
    "unknown": f"light-dark({_UNKNOWN[0]}, {_UNKNOWN[1]})",
    **{f"step-{step}": f"light-dark({low}, {high})" for step, (low, high) in enumerate(_STEPS, start=1)},
}


def custom_properties() -> str:
    """The colours that styles and JavaScript use, as CSS: `--kx-ghost` and so on."""
    return ":root {" + " ".join(f"--kx-{name}: {colour};" for name, colour in _STYLES.items()) + "}"
