"""An encoder as the list of layers it runs, as zennit's rules need it, whatever modules or functions run them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from zennit.layer import Sum

from kmex_core.relevance.recording import (
    ATEN,
    BATCH_NORMS,
    NoRules,
    Place,
    Recorder,
    Step,
    equal,
    named,
    needed,
    record,
    to_float,
)

SAME = {
    ATEN.alias, ATEN.clone, ATEN.contiguous, ATEN.detach, ATEN.lift_fresh, ATEN._to_copy, ATEN.dropout,
}  # fmt: skip
RESHAPES = {
    ATEN.view, ATEN._unsafe_view, ATEN.reshape, ATEN.flatten, ATEN.squeeze, ATEN.squeeze_, ATEN.unsqueeze,
    ATEN.unsqueeze_,
}  # fmt: skip
ACTIVATIONS: dict[Any, Callable[[], nn.Module]] = {
    ATEN.relu: nn.ReLU, ATEN.relu_: nn.ReLU, ATEN.sigmoid: nn.Sigmoid, ATEN.sigmoid_: nn.Sigmoid,
}  # fmt: skip
# allowed before the first layer: a change of scale, size or order of channels, the same for every image
FRONT = SAME | {
    ATEN.add, ATEN.add_, ATEN.sub, ATEN.sub_, ATEN.mul, ATEN.mul_, ATEN.div, ATEN.div_, ATEN.cat, ATEN.slice, ATEN.flip,
    ATEN.repeat, ATEN.expand, ATEN.index_select,
    ATEN.constant_pad_nd, ATEN.upsample_nearest2d, ATEN.upsample_bilinear2d,
    ATEN.upsample_bicubic2d, ATEN._upsample_bilinear2d_aa, ATEN._upsample_bicubic2d_aa,
}  # fmt: skip


@dataclass
class Layers:
    """An encoder in two parts.

    Attributes:
        front: the operations before the first layer, the same affine function for every image; None if there are none.
        network: the layers, from the front's output (N, C, H, W) to embeddings (N, D); batch normalisation is merged.
        tolerance: the allowed deviation from the encoder's embeddings, relative to the largest value, by float type.
    """

    front: Front | None
    network: Network
    tolerance: float

    def gives(self, z: Tensor, expected: Tensor) -> bool:
        """Whether embeddings (N, D) of the layers equal the encoder's within the tolerance."""
        return equal(z, expected, self.tolerance)


class Network(nn.Module):
    """Layers run in sequence, each on the results of earlier ones.

    Args:
        layers: each layer with its sources: 0 for the input, i for the result of layer i − 1.
    """

    def __init__(self, layers: Sequence[tuple[nn.Module, Sequence[int]]]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layer for layer, _ in layers)
        self.sources = [tuple(sources) for _, sources in layers]

    def forward(self, inputs: Tensor) -> Tensor:
        """(N, C, H, W) to (N, D)."""
        results = [inputs]
        for layer, sources in zip(self.layers, self.sources, strict=True):
            results.append(layer(*(results[i] for i in sources)))
        return results[-1]


class Front(nn.Module):
    """Recorded torch operations on images, replayed.

    Args:
        steps: the operations with their arguments; the last one returns the result.
        numbers: the number of each step in the arguments of others; the images are 0.
    """

    def __init__(self, steps: Sequence[Step], numbers: Sequence[int]) -> None:
        super().__init__()
        self._steps = list(zip(numbers, steps, strict=True))

    def forward(self, images: Tensor) -> Tensor:
        """(N, channels, H, W) to (N, C, H', W')."""
        results: dict[int, Tensor] = {0: images}

        def known(value: Any) -> Any:
            if isinstance(value, Place):
                return results[value.step]
            if isinstance(value, list | tuple):
                return type(value)(map(known, value))
            return to_float(value, images.dtype) if isinstance(value, Tensor) else value

        for number, step in self._steps:
            if step.packet in SAME:
                results[number] = known(step.arguments[0])
            else:
                options = {key: known(value) for key, value in step.options.items()}
                given = known(step.arguments)
                if step.packet is ATEN.expand:  # for any batch size
                    given = given[0], [-1, *given[1][1:]]
                name = step.packet.__name__.removesuffix("_")  # never in place
                results[number] = getattr(ATEN, name)(*given, **options)
        return results[self._steps[-1][0]]

    def back(self, relevance: Tensor, images: Tensor) -> Tensor:
        """Relevance of the front's output as relevance of pixels.

        Each value's relevance goes to the pixels it averages, in proportion to their weight: a change of scale passes
        it on unchanged, a change of size distributes it, and the relevance of values without pixels (padding) is lost.
        """
        with torch.enable_grad():
            inputs = images.detach().clone().requires_grad_()
            outputs = self(inputs)
            with torch.no_grad():
                # the sum of each output value's weights: its response to a constant image of ones (the front is affine)
                slope = self(torch.ones_like(inputs)) - self(torch.zeros_like(inputs))
                share = torch.where(slope.abs() > 1e-9, relevance / slope, torch.zeros_like(relevance))
            (of_pixels,) = torch.autograd.grad(outputs, inputs, share)
        return of_pixels.detach()


class Reshape(nn.Module):
    """Reshape each image's values."""

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        self.shape = tuple(shape)

    def forward(self, values: Tensor) -> Tensor:
        """(N, …) to (N, *shape)."""
        return values.reshape(len(values), *self.shape)


class Stack(nn.Module):
    """Two tensors of the same shape, stacked in a new last dimension, for `Sum`."""

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """(N, …) twice to (N, …, 2)."""
        return torch.stack([first, second], -1)


def layers_of(encoder: nn.Module, images: Tensor) -> Layers:
    """The layers that an encoder runs on images.

    Args:
        encoder: images to embeddings (N, D). It runs once and is not changed.
        images: (N, C, H, W), two or more.

    Raises:
        NoRules: when an operation is not covered by the rules.
    """
    recorder, z = record(encoder, images)
    return _Builder(recorder, z, len(images)).layers()


@dataclass
class _Builder:
    recorder: Recorder
    z: Tensor
    count: int
    entries: list[tuple[nn.Module, list[int]]] = field(default_factory=list)
    place: dict[int, int] = field(default_factory=dict)  # of each step's result among those of the layers
    dtype: torch.dtype = torch.float32

    def layers(self) -> Layers:
        # only steps the embedding depends on; the first layer separates the front from the network
        steps = self.recorder.steps
        last = self.recorder.place_of(self.z).step
        numbers = self._needed(last)
        first = next((n for n in numbers if steps[n].packet in (ATEN.convolution, ATEN.addmm, ATEN.mm)), None)
        if first is None:
            raise NoRules("no convolution and no Linear layer")
        if self.z.dtype == torch.float64 or steps[first].output.dtype == torch.float64:
            self.dtype = torch.float64
        start = steps[first].sources[-1]
        before = self._needed(start)[1:]  # without the images
        self.place[start] = 0
        for number in numbers:
            if number > 0 and number not in before:
                self._add(number, steps[number])
        network = Network(self.entries)
        if self.place[last] != len(self.entries):
            raise NoRules("an order of layers that cannot be determined")
        network = network.to(self.z.device).eval().requires_grad_(False)
        layers = Layers(self._front(before), network, self.recorder.tolerance(self.z))
        self._check(layers, steps[0].output)
        return layers

    def _needed(self, last: int) -> list[int]:
        """The steps that a step's result depends on, in order; counts the uses of each."""
        numbers = needed(self.recorder.steps, last)
        for number in numbers:
            for source in set(self.recorder.steps[number].sources):
                self.recorder.steps[source].uses += 1
        return numbers

    def _front(self, numbers: list[int]) -> Front | None:
        steps = [self.recorder.steps[number] for number in numbers]
        for step in steps:
            if step.packet not in FRONT:
                raise NoRules(named(step.packet))
            if step.packet in (ATEN.mul, ATEN.mul_, ATEN.div, ATEN.div_) and len(step.sources) > 1:
                raise NoRules("a product of images")
        if all(step.packet in SAME for step in steps):
            return None
        return Front(steps, numbers)

    def _layer(self, number: int, layer: nn.Module, sources: Sequence[int]) -> None:
        self.entries.append((layer, [self._placed(source) for source in sources]))
        self.place[number] = len(self.entries)

    def _placed(self, step: int) -> int:
        if step not in self.place:
            raise NoRules("a path around the first layer")
        return self.place[step]

    def _add(self, number: int, step: Step) -> None:
        packet, given = step.packet, step.arguments
        if packet in SAME:
            self.place[number] = self._placed(step.sources[0])
        elif packet is ATEN.convolution:
            self._layer(number, self._convolution(given), step.sources)
        elif packet in (ATEN.addmm, ATEN.mm):
            self._layer(number, self._linear(packet, given), step.sources)
        elif packet in BATCH_NORMS:
            self._merge(number, step)
        elif packet in ACTIVATIONS:
            self._layer(number, ACTIVATIONS[packet](), step.sources)
        elif packet in RESHAPES:
            self._reshape(number, step)
        elif packet in (ATEN.add, ATEN.add_):
            self._sum(number, step)
        else:
            self._layer(number, self._pool(step), step.sources)

    def _convolution(self, given: tuple[Any, ...]) -> nn.Module:
        _, weight, bias, stride, padding, dilation, transposed, _, groups = given
        if not isinstance(weight, Tensor) or transposed or weight.ndim != 4:
            raise NoRules("a convolution of another kind")
        layer = nn.Conv2d(
            weight.shape[1] * groups,
            weight.shape[0],
            (weight.shape[2], weight.shape[3]),
            tuple(stride),
            tuple(padding),
            tuple(dilation),
            groups,
            device="meta",
        )
        return self._weighted(layer, weight, bias)

    def _linear(self, packet: Any, given: tuple[Any, ...]) -> nn.Module:
        bias, inputs, weight = given if packet is ATEN.addmm else (None, *given)
        if not isinstance(inputs, Place) or not isinstance(weight, Tensor):
            raise NoRules("a product of matrices")
        return self._weighted(nn.Linear(weight.shape[0], weight.shape[1], device="meta"), weight.T, bias)

    def _weighted(self, layer: nn.Module, weight: Tensor, bias: Tensor | None) -> nn.Module:
        """A layer with these values; zennit's rules for biases need it to have one."""
        bias = torch.zeros(len(weight), device=weight.device) if bias is None else bias
        if not isinstance(bias, Tensor):
            raise NoRules("a bias that depends on the image")
        for name, value in (("weight", weight), ("bias", bias)):
            layer.register_parameter(name, nn.Parameter(value.detach().to(self.dtype, copy=True)))
        return layer

    def _merge(self, number: int, step: Step) -> None:
        before = self._placed(step.sources[0])
        source = self.recorder.steps[step.sources[0]]
        layer = self.entries[before - 1][0] if before else None
        weight, bias, mean, variance = (
            value if value is None else value.to(self.dtype) for value in step.arguments[1:5]
        )
        training = step.packet is not ATEN._native_batch_norm_legit_no_training and step.arguments[5]
        if not isinstance(layer, nn.Conv2d | nn.Linear) or source.uses > 1 or training or mean is None:
            raise NoRules("batch normalisation without a layer before it")
        # y = γ (W x + b − μ) / √(σ² + ε) + β is a layer with weight s W and bias s (b − μ) + β, s = γ / √(σ² + ε)
        epsilon = step.arguments[-1]
        scale = (variance + epsilon).rsqrt() if weight is None else weight / (variance + epsilon).sqrt()
        with torch.no_grad():
            layer.weight.mul_(scale.view(-1, *[1] * (layer.weight.ndim - 1)))
            shift = torch.zeros_like(mean) if bias is None else bias
            layer.bias.copy_((layer.bias - mean) * scale + shift)  # type: ignore[union-attr]
        self.place[number] = before

    def _reshape(self, number: int, step: Step) -> None:
        if step.output.shape[:1] != self.recorder.steps[step.sources[0]].output.shape[:1] or (
            len(step.output) != self.count
        ):
            raise NoRules("a change of shape across images")
        self._layer(number, Reshape(step.output.shape[1:]), step.sources)

    def _sum(self, number: int, step: Step) -> None:
        if step.options.get("alpha", 1) != 1:
            raise NoRules("a weighted sum")
        if len(step.sources) == 1:
            self._shift(number, step)
            return
        shapes = {self._output(source).shape for source in step.sources}
        if len(shapes) != 1:
            raise NoRules("a sum of different shapes")
        self._layer(-number, Stack(), step.sources)
        self.entries.append((Sum(), [len(self.entries)]))
        self.place[number] = len(self.entries)

    def _shift(self, number: int, step: Step) -> None:
        """Merge a constant added to a layer's output into its bias."""
        before = self._placed(step.sources[0])
        constant = next((value for value in step.arguments[:2] if isinstance(value, Tensor)), None)
        layer = self.entries[before - 1][0] if before else None
        alone = self.recorder.steps[step.sources[0]].uses == 1
        if not isinstance(layer, nn.Conv2d | nn.Linear) or not alone or constant is None:
            raise NoRules("a sum with a constant")
        width = len(layer.weight)
        shapes = [(width,)] if isinstance(layer, nn.Linear) else [(width, 1, 1), (1, width, 1, 1)]
        if tuple(constant.shape) not in shapes:
            raise NoRules("a sum with a constant")
        with torch.no_grad():
            layer.bias.add_(constant.flatten().to(self.dtype))  # type: ignore[union-attr]
        self.place[number] = before

    def _output(self, number: int) -> Tensor:
        output = self.recorder.steps[number].output
        return output[0] if isinstance(output, list | tuple) else output

    def _pool(self, step: Step) -> nn.Module:
        packet, given = step.packet, step.arguments
        if packet is ATEN.max_pool2d_with_indices:
            kernel, stride, padding, dilation, ceil = _filled(given[1:], None, [], 0, 1, False)
            return nn.MaxPool2d(kernel, stride or None, padding, dilation, ceil_mode=ceil)
        if packet is ATEN.avg_pool2d:
            kernel, stride, padding, ceil, pads, divisor = _filled(given[1:], None, [], 0, False, True, None)
            return nn.AvgPool2d(kernel, stride or None, padding, ceil, pads, divisor)
        if packet is ATEN._adaptive_avg_pool2d:
            return nn.AdaptiveAvgPool2d(tuple(given[1]))
        spatial = self._output(step.sources[0]).ndim == 4  # (N, C, H, W)
        if packet is ATEN.mean and len(given) > 1 and spatial and sorted(axis % 4 for axis in given[1]) == [2, 3]:
            keep = len(given) > 2 and given[2]
            return nn.AdaptiveAvgPool2d(1) if keep else nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        raise NoRules(named(packet))

    def _check(self, layers: Layers, images: Tensor) -> None:
        """Raise NoRules unless the layers reproduce the encoder's embeddings."""
        inputs = images.to(self.dtype)
        with torch.no_grad():
            again = layers.network(inputs if layers.front is None else layers.front(inputs))
        if not layers.gives(again, self.z):
            raise NoRules("something that cannot be reproduced from its operations")


def _filled(given: Sequence[Any], *defaults: Any) -> tuple[Any, ...]:
    """Arguments, with defaults for the last ones that are not given."""
    return (*given, *defaults[len(given) :])
