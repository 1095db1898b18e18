"""Exact nearest neighbours, by matrix products in blocks."""

from __future__ import annotations

import numpy as np

from kmex_core.base.progress import Event, Progress, silent

BLOCK = 2**24  # distances at once: 64 MB
MOST_ROWS = 2048
GROUP = 32  # anchors, of which a block's search looks at the nearest alone first
SPARE = 8  # candidates beyond k: float32 products order near ties wrongly


def nearest(
    points: np.ndarray, anchors: np.ndarray, k: int, device: str = "cpu", progress: Progress = silent
) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest anchors of each point, of equally near ones those of the lowest indices.

    Candidates by |a|² − 2 p·a, and exact distances of these. Peak memory does not depend on the number of points.

    Args:
        points: (n, D) float32.
        anchors: (m, D) float32.
        k: 1…m.
        device: where the products are computed.
        progress: called between blocks; it may raise to cancel.

    Returns:
        Indices (n, k) int64 and distances (n, k) float32, ascending.
    """
    import torch

    total = len(anchors)
    targets = torch.nn.functional.pad(torch.from_numpy(np.ascontiguousarray(anchors)), (0, 0, 0, -total % GROUP))
    targets = targets.to(device)
    squares = torch.linalg.vector_norm(targets, dim=1).square_()
    squares[total:] = torch.inf  # the filling is nobody's neighbour
    wanted = min(k + SPARE, total)
    rows = min(MOST_ROWS, max(1, BLOCK // max(1, len(targets))))
    index, distance = np.empty((len(points), k), np.int64), np.empty((len(points), k), np.float32)
    for start in range(0, len(points), rows):
        progress(Event("Finding nearest neighbours", start, len(points)))
        block = torch.from_numpy(np.ascontiguousarray(points[start : start + rows])).to(device)
        rough = torch.addmm(squares, block, targets.T, alpha=-2).unflatten(1, (-1, GROUP))
        # the nearest `wanted` are in the groups whose own nearest ones are nearest
        groups = rough.amin(2).topk(min(wanted, rough.shape[1]), largest=False, sorted=False).indices
        members = rough.gather(1, groups[:, :, None].expand(-1, -1, GROUP)).flatten(1)
        at = members.topk(wanted, largest=False, sorted=False).indices
        candidates = (groups.gather(1, at // GROUP) * GROUP + at % GROUP).sort(1).values
        exact = (block[:, None] - targets[candidates]).square().sum(-1).sqrt()
        ordered, order = exact.sort(dim=1, stable=True)
        index[start : start + rows] = candidates.gather(1, order)[:, :k].cpu().numpy()
        distance[start : start + rows] = ordered[:, :k].cpu().numpy()
    return index, distance
