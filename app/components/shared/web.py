"""Components that draw in the browser: their JavaScript lies in app/assets/web and is served from /assets."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, cast

import streamlit as st
from streamlit.components.v2.types import ComponentRenderer

from app.addresses import ASSETS, link

FOLDER = Path(__file__).resolve().parents[2] / "assets" / "web"
EXPLORE = "explore", "map"  # the component Explore, and the folders whose styles it needs, see `component`


def styles(name: str, *shared: str) -> list[Path]:
    """The styles of a component: see `component`."""
    parts = [path for part in (name, *shared) for path in sorted((FOLDER / part).glob("*.css"))]
    return [FOLDER / "common.css", FOLDER / f"{name}.css", *parts]


def component(name: str, *shared: str) -> ComponentRenderer:
    """The component whose module is `name`.js, with the styles of common.css, of `name`.css and of its parts in the
    folder `name` and in the folders `shared`; it exports `show`, called anew for new data."""
    # data are a list of one: to look for tables among the values of a dictionary, Streamlit imports pandas
    # Streamlit cleans up after a call that a newer one has overtaken, too; by then the newer one owns the element
    loader = f"""
const module = import(new URL("{link(f"{ASSETS}/{name}.js")}", document.baseURI));
const newest = new WeakMap();
export default async function (component) {{
  const element = component.parentElement;
  newest.set(element, component);
  const leave = await (await module).show({{ ...component, data: component.data[0] }});
  return () => newest.get(element) === component && leave();
}}
"""
    css = "\n".join(path.read_text() for path in styles(name, *shared))
    mount = st.components.v2.component(f"kmex_{name}", css=css, js=loader, isolate_styles=False)

    @functools.wraps(mount)
    def renderer(*, data: Any, **more: Any) -> Any:
        return mount(data=[data], **more)

    return cast("ComponentRenderer", renderer)
