"""KMEx: any trained image classifier as a prototypical self-explainable model.

Gautam, Boubekki, Höhne, Kampffmeyer: Prototypical Self-Explainable Models Without Re-training, TMLR 2024.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kmex_core.base.provenance import __version__

__all__ = ["KMEx", "__version__"]

if TYPE_CHECKING:
    from kmex_core.models.kmex import KMEx as KMEx


def __getattr__(name: str) -> Any:
    # torch takes seconds to import; the pages must not wait for it before they need it.
    if name == "KMEx":
        from kmex_core.models.kmex import KMEx

        return KMEx
    raise AttributeError(f"module 'kmex_core' has no attribute '{name}'")
