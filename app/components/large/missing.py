"""What has not been computed yet: the command that does, and a button that starts it."""

from __future__ import annotations

import streamlit as st

from app.components.shared.job_panel import offer
from app.wording import MEANWHILE
from kmex_core.base.store import read_only
from kmex_core.commands.embedding_map import density_map_job
from kmex_core.commands.requests import JobRequest
from kmex_core.commands.sweep import sharded_sweep_job
from kmex_core.scale.sharded import ShardedEmbedding
from kmex_core.scale.sweep import ShardedSweep
from kmex_core.scale.tiles import TileMap

ABOUT = "Takes about a minute for a million images."


def offer_sweep(embedding: ShardedEmbedding) -> None:
    """Offer to find the prototypes of an embedding that has none."""
    _offer(sharded_sweep_job(embedding), "Its prototypes have not been found yet", "Find prototypes")


def offer_map(embedding: ShardedEmbedding, tiles: TileMap | None, sweep: ShardedSweep | None) -> None:
    """Offer to draw the density map, or to place the prototypes on it.

    Args:
        embedding: which one.
        tiles, sweep: what there is of it; None for nothing.
    """
    missing = "It has no density map yet" if tiles is None else "Its prototypes are not on the density map yet"
    label = "Place the prototypes" if tiles is not None and sweep is not None else "Draw the density map"
    _offer(density_map_job(embedding), missing, label)


def _offer(request: JobRequest, missing: str, label: str) -> None:
    if not read_only():  # where the panel shows the command itself
        st.info(f"{missing}. Start here, or on the command line. {MEANWHILE}")
        st.code(request.command, language=None, wrap_lines=True)
    offer(request, label, f"{label}.", ABOUT, "primary")
