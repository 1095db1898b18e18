"""Training steps: loss, gradients, update; on a GPU replayed from a recorded graph."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from kmex_core.base.errors import InputError
from kmex_core.models.baseline import Baseline, Stage
from kmex_core.networks.encoders import scores_in

WARM = 3


class Steps:
    """The steps of one epoch, one call per batch.

    Attributes:
        names: of the loss terms, in the order of the first result; empty before the first call.

    Args:
        model: the network, on the device of its batches.
        stage: of training; None for a black box.
        optimiser: of the network's parameters.
    """

    def __init__(self, model: nn.Module, stage: Stage | None, optimiser: torch.optim.Optimizer) -> None:
        self.model, self.stage, self.optimiser = model, stage, optimiser
        self.names: tuple[str, ...] = ()

    def __call__(self, images: Tensor, pixels: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Take one step.

        Args:
            images: (N, 3, S, S) normalised.
            pixels: (N, 3, S, S) the same, 0…1.
            labels: (N,).

        Returns:
            (T,) the loss terms before the step, and the number of images classified correctly, both on the device.
        """
        self.optimiser.zero_grad()
        found = self._gradients(images, pixels, labels)
        self.optimiser.step()
        return found

    def _gradients(self, images: Tensor, pixels: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        terms: Mapping[str, Tensor]
        if self.stage is None:
            scores = scores_in(self.model(images))
            if scores is None:
                raise InputError(f"In training, {type(self.model).__name__} gives no class scores.")
            terms = {"cross-entropy": nn.functional.cross_entropy(scores, labels)}
        else:
            assert isinstance(self.model, Baseline)
            terms, scores = self.model.losses(images, pixels, labels, self.stage)
        self.names = tuple(terms)
        values = torch.stack(list(terms.values()))
        values.sum().backward()
        return values.detach(), (scores.detach().argmax(1) == labels).sum()


class RecordedSteps(Steps):
    """Steps on a CUDA device: forward and backward pass are recorded once and replayed.

    A step of a small network has some hundred kernels of a few microseconds each, and starting them one by one takes
    longer than computing. Batches of another size than the recorded one take the plain way.
    """

    def __init__(self, model: nn.Module, stage: Stage | None, optimiser: torch.optim.Optimizer) -> None:
        super().__init__(model, stage, optimiser)
        self._warm = 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._inputs: tuple[Tensor, ...] = ()
        self._outputs: tuple[Tensor, Tensor] = (torch.empty(0), torch.empty(0))

    def __call__(self, images: Tensor, pixels: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """See `Steps`."""
        batch = (images, pixels, labels)
        if self._graph is None and self._warm < WARM:
            # memory and algorithms must be settled before the recording, on another stream than the default one
            self._warm += 1
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                found = super().__call__(*batch)
            torch.cuda.current_stream().wait_stream(side)
            return found
        if self._graph is None:
            self._record(batch)
        if images.shape != self._inputs[0].shape:
            # the recorded gradients must stay where they are: set to 0 in place
            self.optimiser.zero_grad(set_to_none=False)
            found = self._gradients(*batch)
        else:
            for place, value in zip(self._inputs, batch, strict=True):
                place.copy_(value)
            assert self._graph is not None
            self._graph.replay()
            found = (self._outputs[0].clone(), self._outputs[1].clone())
        self.optimiser.step()
        return found

    def _record(self, batch: tuple[Tensor, Tensor, Tensor]) -> None:
        self._inputs = tuple(value.clone(memory_format=torch.contiguous_format) for value in batch)
        # without gradients the backward pass makes them, where every replay writes them anew
        self.optimiser.zero_grad(set_to_none=True)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._outputs = self._gradients(*self._inputs)
        self._graph = graph
