"""Training steps: loss, gradients, update; on a GPU replayed from a recorded graph."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from kmex_core.base.errors import InputError
from kmex_core.data.network_input import normaliser, unit_pixels
from kmex_core.data.preprocessing import Preprocessing
from kmex_core.models.baseline import Baseline, Stage
from kmex_core.networks.encoders import scores_in

WARM = 3


class Images:
    """Pixels to what a step takes.

    Args:
        preprocessing: of the network.
        device: of the pixels.
        layout: of the images in memory, see `precision.memory_layout`.
    """

    def __init__(self, preprocessing: Preprocessing, device: str, layout: torch.memory_format | None = None) -> None:
        self._preprocessing, self._layout = preprocessing, layout
        self._normalised = normaliser(preprocessing, device)

    def normalised(self, pixels: Tensor) -> Tensor:
        """(N, C, S, S) uint8 to (N, 3, S, S), the network's input."""
        return self._placed(self._normalised(pixels))

    def unit(self, pixels: Tensor) -> Tensor:
        """(N, C, S, S) uint8 to (N, 3, S, S), 0…1."""
        return self._placed(unit_pixels(pixels, self._preprocessing))

    def _placed(self, images: Tensor) -> Tensor:
        return images if self._layout is None else images.contiguous(memory_format=self._layout)


class Steps:
    """The steps of one stage of training, one call per batch.

    Attributes:
        names: of the loss terms, in the order of the first result; empty before the first call.

    Args:
        model: the network, on the device of its batches.
        stage: of training; None for a black box.
        optimiser: of the network's parameters.
        images: makes the network's input.
    """

    def __init__(self, model: nn.Module, stage: Stage | None, optimiser: torch.optim.Optimizer, images: Images) -> None:
        self.model, self.stage, self.optimiser, self.images = model, stage, optimiser, images
        self.names: tuple[str, ...] = ()

    def __call__(self, pixels: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Take one step.

        Args:
            pixels: (N, C, S, S) uint8.
            labels: (N,).

        Returns:
            (T,) the loss terms before the step, and the number of images classified correctly, both on the device.
        """
        self.optimiser.zero_grad()
        found = self._gradients(pixels, labels)
        self.optimiser.step()
        return found

    def _gradients(self, pixels: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        images = self.images.normalised(pixels)
        terms: Mapping[str, Tensor]
        if self.stage is None:
            scores = scores_in(self.model(images))
            if scores is None:
                raise InputError(f"In training, {type(self.model).__name__} gives no class scores.")
            scores = scores.float()  # a network may give 16 bits; its loss has 32
            terms = {"cross-entropy": nn.functional.cross_entropy(scores, labels)}
        else:
            assert isinstance(self.model, Baseline)
            terms, scores = self.model.losses(images, self.images.unit(pixels), labels, self.stage)
        self.names = tuple(terms)
        values = torch.stack(list(terms.values()))
        values.sum().backward()
        return values.detach(), (scores.detach().argmax(1) == labels).sum()


class RecordedSteps(Steps):
    """Steps on a CUDA device: normalisation, forward and backward pass are recorded once and replayed.

    A step of a small network has some hundred kernels of a few microseconds each, and starting them one by one takes
    longer than computing. Batches of another size than the recorded one take the plain way.
    """

    def __init__(self, model: nn.Module, stage: Stage | None, optimiser: torch.optim.Optimizer, images: Images) -> None:
        super().__init__(model, stage, optimiser, images)
        self._warm, self._full = 0, 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._inputs: tuple[Tensor, ...] = ()
        self._outputs: tuple[Tensor, Tensor] = (torch.empty(0), torch.empty(0))
        self._gradients_at: list[tuple[nn.Parameter, Tensor]] = []

    def __call__(self, pixels: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """See `Steps`."""
        batch = (pixels, labels)
        self._full = max(self._full, len(labels))  # the first batch of an epoch has the usual size
        if self._graph is None and (self._warm < WARM or len(labels) < self._full):
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
        for parameter, gradient in self._gradients_at:  # between epochs, others may have put theirs aside
            parameter.grad = gradient
        if pixels.shape != self._inputs[0].shape:
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

    def _record(self, batch: tuple[Tensor, Tensor]) -> None:
        self._inputs = tuple(value.clone(memory_format=torch.contiguous_format) for value in batch)
        # without gradients the backward pass makes them, where every replay writes them anew
        self.optimiser.zero_grad(set_to_none=True)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._outputs = self._gradients(*self._inputs)
        self._graph = graph
        self._gradients_at = [
            (parameter, parameter.grad) for parameter in self.model.parameters() if parameter.grad is not None
        ]
