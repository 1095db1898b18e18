"""How near each image is to its prototype, and how sure the prediction is."""

from __future__ import annotations

import numpy as np

from app.workspace.answer import Answer, Asked, columns
from app.workspace.sources import asked_conversion
from kmex_core.stages.subject import Subject

ROWS = 8192


def certainty(subject: Subject, asked: Asked) -> Answer:
    """(N + M,) float32 distances to the nearest prototype, then (N + M,) float32 posteriors of the predicted class.

    The posterior of a test image is by a temperature that was fitted without it.
    """
    import torch

    source, conversion = asked_conversion(subject, asked)
    module = subject.explainer(source)
    predicted = torch.from_numpy(conversion.train_predicted)
    device, distances, confidence = module.prototypes.device, [], []
    for split in ("train", "test"):
        z = subject.read(subject.embedding(split)).z
        for start in range(0, len(z), ROWS):
            with torch.no_grad():
                rows = torch.from_numpy(z[start : start + ROWS]).to(device)
                distances.append(module.distance(rows).amin(1).cpu().numpy())
                if split == "train":
                    of_predicted = predicted[start : start + ROWS, None].to(device)
                    confidence.append(module.posterior(rows).gather(1, of_predicted)[:, 0].cpu().numpy())
    return Answer(
        columns(
            [
                np.concatenate(distances).astype(np.float32),
                np.concatenate([*confidence, conversion.test_confidence]).astype(np.float32),
            ]
        )
    )
