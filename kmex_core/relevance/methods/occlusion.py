"""Occlusion."""

from __future__ import annotations

import torch
from torch import Tensor

from kmex_core.networks.memory import Portions
from kmex_core.relevance.method import ROWS, Attributions, RelevanceMethod
from kmex_core.relevance.paths import evenly
from kmex_core.relevance.protocol import Explainable
from kmex_core.relevance.replacements import replacements_of
from kmex_core.relevance.target import Targets

PATCH, STRIDE = 1 / 8, 1 / 8  # of the side of the image


class Occlusion(RelevanceMethod):
    """How much the number falls when a patch of the image is replaced, spread over the patches that cover a pixel
    (after Zeiler & Fergus, ECCV 2014), averaged over the replacements (each with the same say, see `paths.evenly`)."""

    name = "occlusion"
    title = "Occlusion"
    about = "How much the number falls when parts of the image are black, their mean or a blur, for any network."
    place = 3
    conserves = False
    gradients = False

    def maps(self, model: Explainable, images: Tensor, z: Tensor, targets: Targets, rows: int = ROWS) -> Attributions:
        """See `RelevanceMethod.maps`; the maps have no guaranteed sum. A patch passes the encoder once for all targets
        of its image."""
        patches = patches_of(images.shape[2], images.shape[3], images.device)
        instead = replacements_of(images, model)
        kinds, count, parts = len(instead), len(images), len(patches)
        with torch.no_grad():
            whole = targets.values(model, z[targets.images])
            portions = Portions.fitting(model.encoder, images, rows)
            total = kinds * count * parts

            def encoded(part: slice) -> Tensor:
                row = torch.arange(part.start, min(part.stop, total), device=images.device)
                kind, image, patch = row // (count * parts), row // parts % count, row % parts
                return model.encode(torch.where(patches[patch][:, None], instead[kind, image], images[image]))

            occluded = torch.cat(list(portions.over(total, encoded))).view(kinds, count, parts, -1)
            # the fall of each target for each patch and replacement, (R, M, P): one patch of all targets at a time
            falls = torch.stack(
                [
                    torch.stack(
                        [whole - targets.values(model, of_kind[targets.images, patch]) for patch in range(parts)], 1
                    )
                    for of_kind in occluded
                ]
            )
        # each pixel: the mean over the patches that cover it; no channel has a relevance of its own
        cover = patches.to(falls.dtype)
        values = torch.einsum("rmp,phw->rmhw", falls, cover) / cover.sum(0)
        values = values[:, :, None].expand(-1, -1, images.shape[1], -1, -1) / images.shape[1]
        made, none = evenly(values, torch.full_like(values[:, :, 0, 0, 0], torch.nan))
        return Attributions(made, none)


def patches_of(height: int, width: int, device: torch.device) -> Tensor:
    """(P, H, W) bool: square patches in rows and columns, the last ones at the edges, so that all cover every pixel."""
    side, stride = max(1, round(min(height, width) * PATCH)), max(1, round(min(height, width) * STRIDE))

    def begins(length: int) -> list[int]:
        return sorted({*range(0, length - side + 1, stride), length - side})

    masks = torch.zeros(len(begins(height)), len(begins(width)), height, width, dtype=torch.bool, device=device)
    for i, top in enumerate(begins(height)):
        for j, left in enumerate(begins(width)):
            masks[i, j, top : top + side, left : left + side] = True
    return masks.flatten(0, 1)
