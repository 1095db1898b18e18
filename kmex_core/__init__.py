"""KMEx: any trained image classifier as a prototypical self-explainable model.

Gautam, Boubekki, Höhne, Kampffmeyer: Prototypical Self-Explainable Models Without Re-training, TMLR 2024.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["KMEx", "__version__"]

if TYPE_CHECKING:
    from kmex_core.kmex import KMEx as KMEx


def __getattr__(name: str) -> Any:
    # torch takes seconds to import; the pages must not wait for it before they need it.
    if name == "KMEx":
        from kmex_core.kmex import KMEx

        return KMEx
    raise AttributeError(f"module 'kmex_core' has no attribute '{name}'")
