"""KMEx as a picture: image, encoder, embedding with prototypes, nearest prototype, class."""

from __future__ import annotations

from app.figures.palette import CHOSEN, KMEX

DIAGRAM_ALT = (
    "The unchanged encoder maps an image to a point in the embedding, where k-means has found prototypes for each "
    "class. "
    "The class of the nearest prototype is the prediction."
)
_BOX = 'rx="8" fill="none" stroke="currentColor" stroke-width="1.5"'
_ARROW = 'stroke="currentColor" stroke-width="1.5" marker-end="url(#kx-tip)"'
_ONE, _OTHER = KMEX, CHOSEN
_DOTS = [(318, 38), (330, 52), (308, 56), (324, 68), (380, 34), (394, 46), (372, 52), (388, 62), (402, 30)]


def diagram(ink: str) -> str:
    """The picture as SVG.

    Args:
        ink: the colour of its lines and texts.
    """
    return f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 720 120" width="1440" height="240" color="{ink}"
font-family="Segoe UI, Helvetica, Arial, DejaVu Sans, sans-serif">
<rect width="720" height="120" rx="8" fill="currentColor" fill-opacity=".05"/>
<defs><marker id="kx-tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">
<path d="M0 0L8 4L0 8z" fill="currentColor"/></marker></defs>
<g font-size="13" fill="currentColor" text-anchor="middle">
<rect x="6" y="24" width="84" height="56" {_BOX}/><text x="48" y="57">image</text>
<path d="M92 52H126" {_ARROW}/>
<rect x="130" y="24" width="104" height="56" {_BOX}/><text x="182" y="50">encoder</text>
<text x="182" y="67" font-size="11" opacity=".8">unchanged</text>
<path d="M236 52H270" {_ARROW}/>
<rect x="274" y="10" width="170" height="84" {_BOX}/>
{"".join(f'<circle cx="{x}" cy="{y}" r="3.5" fill="{_ONE if x < 350 else _OTHER}"/>' for x, y in _DOTS)}
<rect x="314" y="47" width="12" height="12" fill="{_ONE}" stroke="currentColor" stroke-width="1.5"/>
<rect x="382" y="40" width="12" height="12" fill="{_OTHER}" stroke="currentColor" stroke-width="1.5"/>
<path d="M352 76L334 62" stroke="currentColor" stroke-width="1.5" stroke-dasharray="3 2"/>
<text x="357" y="84" font-size="14">✕</text>
<text x="359" y="112" font-size="11" opacity=".8">embedding: k-means finds prototypes (■) per class</text>
<path d="M446 52H480" {_ARROW}/>
<rect x="484" y="24" width="112" height="56" {_BOX}/><text x="540" y="50">nearest</text>
<text x="540" y="66">prototype ■</text>
<path d="M598 52H632" {_ARROW}/>
<rect x="636" y="24" width="78" height="56" {_BOX}/><text x="675" y="57">class</text>
</g></svg>"""
