"""Which sharded embedding is shown, and what it is."""

from __future__ import annotations

import streamlit as st

from app import sharded
from app.claims import large as claims
from app.links import bound, one_of
from app.wording import message
from kmex_core.scale.sharded import ShardedEmbedding
from kmex_core.scale.sweep import ShardedSweep
from kmex_core.scale.tiles import TileMap

WIDTH = 300
EXAMPLE = "python -m kmex_core demo --large 1000000"


def choose_embedding() -> ShardedEmbedding | None:
    """Show the choice between the sharded embeddings of the store; None where there is none, which the page says."""
    embeddings, damaged = sharded.embeddings()
    for words in damaged:
        st.warning(message(words))
    if not embeddings:
        st.info("The store has no sharded embedding yet. This command makes one of a million generated images:")
        st.code(EXAMPLE, language=None)
        return None
    names = list(embeddings)
    name = st.selectbox(
        "Embedding",
        names,
        key="embedding",
        bind=bound("embedding", one_of(names), "Choose one of the store's.", names[0]),
        width=WIDTH,
    )
    return embeddings[name]


def show_summary(embedding: ShardedEmbedding, sweep: ShardedSweep | None, tiles: TileMap | None) -> None:
    """Show what the embedding is: its numbers in a line, and a sentence.

    Args:
        embedding: which one.
        sweep, tiles: its prototypes and its density map, each of which knows how often the black box is right; None
            while they are not there.
    """
    right = claims.black_box_accuracy(sweep, tiles)
    st.markdown(claims.size(embedding, sharded.bytes_on_disk(embedding), right))
    st.caption(claims.origin(embedding))
