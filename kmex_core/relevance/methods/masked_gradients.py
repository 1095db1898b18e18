"""Masked gradients."""

from __future__ import annotations

from torch import Tensor

from kmex_core.relevance.method import ROWS, Attributions, RelevanceMethod
from kmex_core.relevance.paths import Paths, evenly, exact, random_masks
from kmex_core.relevance.protocol import Explainable
from kmex_core.relevance.replacements import replacements_of
from kmex_core.relevance.target import Targets

MASKS, FEWER, LARGE = 16, 8, 64 * 64  # masks, those of larger images, and pixels: a larger image costs more


class MaskedGradients(RelevanceMethod):
    """The gradient where random pixels are replaced, times the change of each pixel, averaged over masks and
    replacements (each with the same say, see `paths.evenly`).

    For a pixel it is the first-order effect of replacing it in a random context, as deletion and insertion do, where
    Integrated Gradients fade the whole image at once: the gradient form of Shapley values for random sets of pixels
    (Owen's multilinear extension), as expected gradients (Erion et al., Nature Machine Intelligence 3, 2021) are for
    random baselines. Over all masks the sum would be the number for the image less its mean for the replacements, up
    to the curvature in a single pixel. 16 masks (8 for images of more than 64×64 pixels) leave an error of a few per
    cent of the map's magnitude, up to 17% on the demos; it is checked for each map.
    """

    name = "masked-gradients"
    title = "Masked gradients"
    about = "Gradients where random pixels are replaced by black, the mean or a blur, for any network."
    place = 0
    tolerance = 0.2

    def maps(self, model: Explainable, images: Tensor, z: Tensor, targets: Targets, rows: int = ROWS) -> Attributions:
        """See `RelevanceMethod.maps`; a map sums to the number for the image less its weighted mean for the
        replacements, on average over masks."""
        model = exact(model, images)
        starts = replacements_of(images, model)
        masks = MASKS if images.shape[2] * images.shape[3] <= LARGE else FEWER
        paths = Paths(images, starts, *random_masks(masks, images))
        return Attributions(*evenly(paths.attributions(model, targets, rows), paths.differences(model, targets, rows)))
