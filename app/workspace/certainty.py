"""How near each image is to its prototype, and how sure the prediction is."""

from __future__ import annotations

import math

import numpy as np

from app.workspace.answer import ALL, Answer, Asked, Rows, columns
from app.workspace.sources import asked_conversion
from kmex_core.prototypes.source import PrototypeSource
from kmex_core.prototypes.types import Conversion
from kmex_core.stages.subject import Subject

FEWEST, MOST = 1024, 8192  # images at once


def certainty(subject: Subject, asked: Asked) -> Answer:
    """(N + M,) float32 distances to the nearest prototype, then (N + M,) float32 posteriors of the predicted class.

    The posterior of a test image is by a temperature that was fitted without it.
    """
    return Answer(certainty_of(subject, *asked_conversion(subject, asked)))


def certainty_of(subject: Subject, source: PrototypeSource, conversion: Conversion, rows: Rows = ALL) -> bytes:
    """The columns of `certainty`, of some images."""
    import torch

    from kmex_core.prototypes.fit import MANY

    module = subject.explainer(source)
    # as few at once as `pairwise` computes fast: what threads need for them, they keep
    step = min(MOST, max(FEWEST, math.ceil(MANY / max(1, module.prototypes.numel()))))
    predicted = torch.from_numpy(conversion.train_predicted)
    device, distances, confidence, first = module.prototypes.device, [], [], 0
    total = len(conversion.train_predicted) + len(conversion.test_predicted)
    wanted = np.arange(total)[rows]
    for split in ("train", "test"):
        every = subject.read(subject.embedding(split)).z
        of_split = wanted[(wanted >= first) & (wanted < first + len(every))] - first
        first += len(every)
        for start in range(0, len(of_split), step):
            some = of_split[start : start + step]
            with torch.no_grad():
                z = torch.from_numpy(every[some]).to(device)
                distances.append(module.distance(z).amin(1).cpu().numpy())
                if split == "train":
                    of_predicted = predicted[some, None].to(device)
                    confidence.append(module.posterior(z).gather(1, of_predicted)[:, 0].cpu().numpy())
                else:
                    confidence.append(conversion.test_confidence[some])
    return columns([np.concatenate(each).astype(np.float32) for each in (distances, confidence)])
