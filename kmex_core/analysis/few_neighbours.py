"""Exact nearest neighbours of a few points, without torch: the places of prototypes must not wait for its import."""

from __future__ import annotations

import numpy as np

FEW = 4096  # points, beyond which torch's threads are worth its import
BLOCK = 2**24  # distances at once: 64 MB
GROUP = 32  # anchors, of which a block's search looks at the nearest alone first
SPARE = 8  # candidates beyond k: float32 products order near ties wrongly


def nearest_of_few(points: np.ndarray, anchors: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest anchors of each point, of equally near ones those of the lowest indices.

    Candidates by |a|² / 2 − p·a, and exact distances of these, as `neighbours.nearest` has them to float32's precision.

    Args:
        points: (n, D) float32.
        anchors: (m, D) float32.
        k: 1…m.

    Returns:
        Indices (n, k) int64 and distances (n, k) float32, ascending.
    """
    total, wanted = len(anchors), min(k + SPARE, len(anchors))
    filling = -total % GROUP
    halves = np.pad(np.einsum("ij,ij->i", anchors, anchors) / 2, (0, filling), constant_values=np.inf)  # nobody's
    targets = np.pad(anchors, ((0, filling), (0, 0)))
    index, distance = np.empty((len(points), k), np.int64), np.empty((len(points), k), np.float32)
    rows = max(1, BLOCK // total)
    for start in range(0, len(points), rows):
        block = np.ascontiguousarray(points[start : start + rows], dtype=np.float32)
        rough = block @ targets.T
        np.subtract(halves, rough, out=rough)
        # the nearest `wanted` are in the groups whose own nearest ones are nearest
        by_group = rough.reshape(len(block), -1, GROUP)
        groups = _least(by_group.min(2), wanted)
        members = np.take_along_axis(by_group, groups[:, :, None], 1).reshape(len(block), -1)
        at = _least(members, wanted)
        candidates = np.sort(np.take_along_axis(groups, at // GROUP, 1) * GROUP + at % GROUP, axis=1)
        exact = np.sqrt(((block[:, None] - anchors[candidates]) ** 2).sum(-1))
        order = np.argsort(exact, axis=1, kind="stable")[:, :k]
        index[start : start + rows] = np.take_along_axis(candidates, order, 1)
        distance[start : start + rows] = np.take_along_axis(exact, order, 1)
    return index, distance


def _least(values: np.ndarray, count: int) -> np.ndarray:
    """(n, count) where the least of (n, m) values are, in any order; all of fewer."""
    if values.shape[1] <= count:
        return np.broadcast_to(np.arange(values.shape[1]), values.shape)
    return np.argpartition(values, count - 1, axis=1)[:, :count]
