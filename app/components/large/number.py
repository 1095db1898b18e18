"""The number of prototypes per class in the address: the slider is in the browser, see `density`."""

from __future__ import annotations

from app.components.shared.told import told_address
from app.links import pick, picked, refuse
from kmex_core.scale.sweep import ShardedSweep

PARAMETER = "per_class"
DEFAULT = 5


def usual_k(sweep: ShardedSweep) -> int:
    """What is shown while nobody chose: the number of the sweep that is nearest to `DEFAULT`."""
    return min(sweep.ks.tolist(), key=lambda k: abs(k - DEFAULT))


def chosen_k(sweep: ShardedSweep) -> int:
    """The number that the address names; the usual one where it names none, or one that was not computed."""
    ks, text = sweep.ks.tolist(), picked(PARAMETER)
    named = {str(k): k for k in ks}
    if text and text not in named:
        refuse(PARAMETER, text, f"Choose {ks[0]} to {ks[-1]} per class.")
    return named.get(text, usual_k(sweep))


def remember_k(key: str, sweep: ShardedSweep | None) -> None:
    """Put the number that a component tells into the address: for its callback."""
    k = told_address(key).get("k")
    if sweep is not None and isinstance(k, int | float) and k in sweep.ks:
        pick(PARAMETER, "" if k == usual_k(sweep) else str(int(k)))
