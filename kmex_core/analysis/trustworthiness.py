"""Trustworthiness of a map: whether neighbours on it are neighbours in the embedding (Venna & Kaski 2001)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kmex_core.base.progress import Event, Progress, silent

NEIGHBORS = 12
ROWS = 250


@dataclass(frozen=True, eq=False)
class Placed:
    """Points of an embedding, (n, D) float32, and their places on a map, (n, 2) float32."""

    points: np.ndarray
    places: np.ndarray

    def __len__(self) -> int:
        return len(self.points)

    def __getitem__(self, rows: np.ndarray) -> Placed:
        return Placed(self.points[rows], self.places[rows])


def trustworthiness(
    among: Placed,
    judged: Placed | np.ndarray,
    neighbors: int = NEIGHBORS,
    device: str = "cpu",
    progress: Progress = silent,
) -> float:
    """How far the nearest neighbours of some points on a map are neighbours in the embedding, 0…1.

    1 − 2 / (n k (2m − 3k + 1)) · Σ (rank − k) over those k nearest on the map of each of n points that are not among
    the k nearest of the embedding; ranks are among all m other points. With all points judged it is Venna and Kaski's.

    Args:
        among: all points in which neighbours are searched.
        judged: which of these are judged (n indices), or others.
        neighbors: k; at most half of the points.
        device: where it is computed.
        progress: called between blocks; it may raise to cancel.
    """
    import torch

    itself = judged if isinstance(judged, np.ndarray) else None
    some = among[judged] if isinstance(judged, np.ndarray) else judged
    others = len(among) - (itself is not None)
    k = min(neighbors, others // 2)
    middle = among.points.mean(0)
    points = torch.from_numpy(among.points - middle).to(device)
    places = torch.from_numpy(np.ascontiguousarray(among.places)).to(device)
    squares = points.square().sum(1)
    surplus = 0
    for start in range(0, len(some), ROWS):
        progress(Event("Judging the map", start, len(some)))
        rows = slice(start, start + ROWS)
        z = torch.from_numpy(some.points[rows] - middle).to(device)
        place = torch.from_numpy(np.ascontiguousarray(some.places[rows])).to(device)
        # squared distances on the map and, up to a constant for each row, in the embedding
        mapped = (place[:, :1] - places[:, 0]).square_().add_((place[:, 1:] - places[:, 1]).square_())
        embedded = torch.addmm(squares, z, points.T, alpha=-2)
        if itself is not None:
            own = torch.arange(len(z), device=device), torch.from_numpy(itself[rows]).to(device)
            mapped[own] = embedded[own] = torch.inf
        nearest = embedded.gather(1, mapped.topk(k, largest=False).indices)
        for j in range(k):
            rank = 1 + (embedded < nearest[:, j : j + 1]).sum(1, dtype=torch.int32)
            surplus += int((rank - k).clamp(min=0).sum())
    return 1 - 2 * surplus / (len(some) * k * (2 * others - 3 * k + 1))
