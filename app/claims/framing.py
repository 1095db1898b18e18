"""What happens to a picture on its way to the network, in a sentence."""

from __future__ import annotations

import numpy as np

from kmex_core.data.framing import Framing, distortion
from kmex_core.models.info import ModelInfo

SQUARE = 1.02  # a picture that is nearer to a square is not worth a word


def prepared(info: ModelInfo, pixels: np.ndarray, framing: Framing) -> str:
    """The picture's size, and how it becomes the network's input, as Markdown.

    Args:
        info: the model.
        pixels: the picture, (H, W) or (H, W, 3) uint8, before it is framed.
        framing: of it.
    """
    height, width = pixels.shape[:2]
    stretched, preprocessing = distortion(pixels), info.preprocessing
    shape = {"whole": "", "pad": ", padded to a square", "region": ", cropped to a square region"}[framing.crop]
    if framing.crop == "whole" and preprocessing.resize == "squeeze" and stretched >= SQUARE:
        shape = f", **squeezed into a square** (one side shrinks {stretched:.2f} times as much as the other)"
    if (height, width) == preprocessing.size and framing.text == "":
        return f"{width:,} × {height:,} pixels, the size of the network's input."
    colour = "greyscale" if info.channels == 1 else "colour"
    return f"{width:,} × {height:,} pixels{shape}; {preprocessing.placing}, {colour}."
