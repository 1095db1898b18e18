"""Which numbers relevance maps explain: targets of prototypes, of classes, and of a black box."""

from __future__ import annotations

import torch
from torch import Tensor

from kmex_core.base.errors import InputError
from kmex_core.networks.heads import has_scores
from kmex_core.relevance.catalogue import CLASS, PROTOTYPE, RIVALS, TARGETS
from kmex_core.relevance.protocol import Explainable, Prototypical
from kmex_core.relevance.target import Targets, targets


def why_no_target(name: str, model: Explainable) -> str:
    """Why a model has no target of this name; "" when it has: a network without class scores has none to explain."""
    if name != "score" or has_scores(model.head):
        return ""
    others = ", ".join(other for other in TARGETS if other != name)
    return f"The network predicts none of the classes, so there is no score to explain. Use another target: {others}."


def of_prototypes(
    name: str, model: Prototypical, images: Tensor, z: Tensor, prototypes: Tensor, rival: str | Tensor = CLASS
) -> Targets:
    """Targets of prototypes.

    Args:
        name: of the kind of target, a name in `TARGETS`; of a kind that is about classes, the prototype's class.
        model: with the prototypes.
        images: (M,) which of the images each is for.
        z: (M, D) the embeddings of these images.
        prototypes: (M,) by index.
        rival: the nearest prototype of another class ("class"), the nearest other one ("prototype"), or (M,) indices.

    Raises:
        InputError: when the model has no such target, see `why_no_target`.
    """
    described = TARGETS.named(name)
    if why := why_no_target(name, model):
        raise InputError(why)
    if described.subject == "class":
        return targets(described.make(), images, model.prototype_class[prototypes])
    if not described.has_rival:
        return targets(described.make(), images, prototypes)
    rivals = model.rivals(z, prototypes, rival) if isinstance(rival, str) else rival
    return targets(described.make(), images, prototypes, rivals)


def of_classes(name: str, model: Prototypical, images: Tensor, z: Tensor, classes: Tensor) -> Targets:
    """Targets of classes by the prototypes: with a rival, of the nearest prototype of the class; else the posterior.

    Args:
        name, model, images, z: see `of_prototypes`.
        classes: (M,).

    Raises:
        InputError: when the model has no such target, see `why_no_target`, or a class has no prototypes.
    """
    described = TARGETS.named(name)
    if why := why_no_target(name, model):
        raise InputError(why)
    if name == "score":
        return targets(described.make(), images, classes)
    others = model.prototype_class != classes[:, None]
    if bool(others.all(1).any()):
        raise InputError("A class without prototypes is never predicted, so there is nothing to explain.")
    if described.subject == "class":
        return targets(described.make(), images, classes)
    if not described.has_rival:
        return targets(TARGETS["class"].make(), images, classes)
    nearest = model.distance(z).masked_fill(others, torch.inf).argmin(1)
    return targets(described.make(), images, nearest, model.rivals(z, nearest))


def of_scores(name: str, scores: Tensor, images: Tensor, classes: Tensor) -> Targets:
    """Targets of a black box's scores; where the prototypes' targets have a rival, less the best other class's score.

    Args:
        name: of the kind of target that the prototypes have.
        scores: (M, C) of the black box.
        images: (M,) which of the images each is for.
        classes: (M,).
    """
    kind = TARGETS["score"].make()
    if not TARGETS.named(name).has_rival or scores.shape[1] < 2:
        return targets(kind, images, classes)
    runner_up = scores.scatter(1, classes[:, None], -torch.inf).argmax(1)
    return targets(kind, images, classes, runner_up)


def checked_rival(rival: str | int, prototypes: int) -> str | int:
    """A rival as a person chooses it: one of `RIVALS`, or the number of a prototype.

    Raises:
        InputError: for anything else.
    """
    if rival in RIVALS:
        return rival
    number = int(rival) if isinstance(rival, int) or str(rival).isdecimal() else -1
    if not 0 <= number < prototypes:
        raise InputError(
            f"There is no rival {rival!r}; use {CLASS} (the nearest prototype of another class), {PROTOTYPE} (the "
            f"nearest other prototype), or the number of a prototype, 0 to {prototypes - 1}."
        )
    return number


def rivals_of(rival: str | int, like: Tensor) -> str | Tensor:
    """A checked rival for as many prototypes as `like`, (M,), has."""
    return rival if isinstance(rival, str) else torch.full_like(like, rival)
