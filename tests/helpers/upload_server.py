"""Serves one page that has nothing but uploads, behind what guards the dashboard."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = {str(ROOT)} - set(sys.path)

import streamlit as st  # noqa: E402
from starlette.middleware import Middleware  # noqa: E402
from starlette.routing import Mount  # noqa: E402
from starlette.staticfiles import StaticFiles  # noqa: E402
from streamlit.file_util import get_static_dir  # noqa: E402

from app.addresses import ASSETS, route  # noqa: E402
from app.routes import uploads  # noqa: E402
from app.security import LOOPBACK, AllowedHosts, SecurityHeaders, policy  # noqa: E402

app = st.App(
    Path(__file__).with_name("upload_page.py"),
    routes=[*uploads.routes(), Mount(route(ASSETS), StaticFiles(directory=ROOT / "app" / "assets" / "web"))],
    middleware=[
        Middleware(SecurityHeaders, policy=policy(Path(get_static_dir(), "index.html").read_text("utf-8"))),
        Middleware(AllowedHosts, names=LOOPBACK),
    ],
)
