"""The entry of the dashboard: `streamlit run app/Home.py` from a clone, `kmex app` where it is installed."""

from __future__ import annotations

import logging
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

HERE = Path(__file__).absolute().parent
sys.path[:0] = {str(HERE.parent)} - set(sys.path)  # a clone's root; an installed package is on the path

import streamlit as st  # noqa: E402
from starlette.middleware import Middleware  # noqa: E402
from starlette.routing import Mount  # noqa: E402
from starlette.staticfiles import StaticFiles  # noqa: E402
from streamlit.file_util import get_static_dir  # noqa: E402

from app import spare_memory, warm_up  # noqa: E402
from app.addresses import ASSETS, route  # noqa: E402
from app.index_page import IndexPage, told  # noqa: E402
from app.old_addresses import OldAddresses  # noqa: E402
from app.routes.later import Later  # noqa: E402
from app.security import LOOPBACK, AllowedHosts, SecurityHeaders, policy  # noqa: E402

log = logging.getLogger("kmex")


def explain_failure(error: Exception) -> bool:
    """Show an unexpected error as a sentence; the log has the traceback."""
    log.error("A page failed", exc_info=error)
    st.error(
        "Something went wrong. No data was lost; reload the page to continue. "
        f"Details are in the server's log ({type(error).__name__})."
    )
    return True


@asynccontextmanager
async def import_pages(_app: st.App) -> AsyncIterator[None]:
    """Import what the first page needs while the browser loads Streamlit, in threads that share spare memory."""
    spare_memory.share_arenas()
    warm_up.pages()
    yield


app = st.App(
    Path(__file__).with_name("frame.py"),
    lifespan=import_pages,
    routes=[
        Later("app.routes.pictures", "/pictures", "/drafts"),
        Later("app.routes.uploads", "/uploads"),
        Later("app.routes.workspace", "/workspace"),
        Later("app.routes.engine", "/engine"),
        Later("app.routes.sharded", "/sharded"),
        Mount(route(ASSETS), StaticFiles(directory=HERE / "assets" / "web")),
    ],
    middleware=[
        Middleware(SecurityHeaders, policy=policy(told(Path(get_static_dir(), "index.html").read_bytes()).decode())),
        Middleware(
            AllowedHosts,
            names=st.get_option("server.allowedHosts") or LOOPBACK,
            origins=st.get_option("server.corsAllowedOrigins"),
        ),
        Middleware(OldAddresses),
        Middleware(IndexPage),
    ],
    on_script_error=explain_failure,
)
