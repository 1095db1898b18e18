"""The linearised form of each operation: a linear or affine function of the values that carry relevance, whose other
factors keep the values that they have for the images (see `linearised`).

| operation | what is held constant |
| --- | --- |
| attention | its weights: the softmax of queries and keys |
| layer and group normalisation | the denominator; the mean stays a function of the values |
| activation f, from ReLU to GELU and sigmoid | (f(x) − f(0)) / x, beside the constant f(0); 0 where x is 0 |
| maximum pooling | which value is the largest |
| a product, of numbers or matrices | the factor that is a gate (see `GATES`), as in squeeze-and-excitation |

Attention and normalisation: CP-LRP (Ali et al., XAI for Transformers: Better Explanations through Conservative
Propagation, ICML 2022).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from kmex_core.relevance.recording import ATEN, BATCH_NORMS

Affine = Callable[[Tensor], Tensor]

# the same values
SAME = {ATEN.alias, ATEN.clone, ATEN.detach, ATEN.lift_fresh}
# linear in all their tensors together
JOINT = SAME | {
    ATEN._to_copy, ATEN.reshape, ATEN.squeeze, ATEN.unsqueeze, ATEN.permute, ATEN.transpose, ATEN.t, ATEN.select,
    ATEN.slice, ATEN.split, ATEN.split_with_sizes, ATEN.unbind, ATEN.expand, ATEN.repeat, ATEN.roll, ATEN.flip,
    ATEN.index, ATEN.index_select, ATEN.cat, ATEN.stack, ATEN.constant_pad_nd, ATEN.reflection_pad2d,
    ATEN.replication_pad2d, ATEN.im2col, ATEN.unfold, ATEN.pixel_shuffle, ATEN.pixel_unshuffle, ATEN.channel_shuffle,
    ATEN.add, ATEN.sub, ATEN.rsub, ATEN.neg, ATEN.sum, ATEN.mean, ATEN.avg_pool2d, ATEN._adaptive_avg_pool2d,
    ATEN.upsample_nearest2d, ATEN.upsample_bilinear2d, ATEN.upsample_bicubic2d, ATEN._upsample_bilinear2d_aa,
    ATEN._upsample_bicubic2d_aa,
}  # fmt: skip
# linear in each of two factors, by position, and in what is added to their product
FACTORS = {
    ATEN.mul: (0, 1), ATEN.div: (0, 1), ATEN.mm: (0, 1), ATEN.bmm: (0, 1), ATEN.addmm: (1, 2), ATEN.baddbmm: (1, 2),
    ATEN.convolution: (0, 1),
}  # fmt: skip
# results that may be held constant in a product: weights of attention, gates, and the norms that values are divided by
GATES = {
    ATEN._softmax, ATEN._safe_softmax, ATEN.sigmoid, ATEN.hardsigmoid, ATEN.var, ATEN.std, ATEN.linalg_vector_norm,
    ATEN.sqrt, ATEN.rsqrt,
}  # fmt: skip
# f(x) of each value
ACTIVATIONS = {
    ATEN.relu, ATEN.leaky_relu, ATEN._prelu_kernel, ATEN.gelu, ATEN.silu, ATEN.hardswish, ATEN.elu, ATEN.mish,
    ATEN.tanh, ATEN.sigmoid, ATEN.hardsigmoid, ATEN.softplus, ATEN.hardtanh, ATEN.clamp, ATEN.clamp_min, ATEN.clamp_max,
}  # fmt: skip
ATTENTION = {
    ATEN._scaled_dot_product_flash_attention_for_cpu, ATEN._scaled_dot_product_flash_attention,
    ATEN._scaled_dot_product_efficient_attention, ATEN._scaled_dot_product_cudnn_attention,
    ATEN._scaled_dot_product_fused_attention_overrideable,
}  # fmt: skip
# results that depend on the shape of the arguments alone
FRESH = {
    ATEN.new_empty, ATEN.new_empty_strided, ATEN.new_zeros, ATEN.new_ones, ATEN.new_full, ATEN.empty_like,
    ATEN.zeros_like, ATEN.ones_like, ATEN.full_like,
}  # fmt: skip


def activation(packet: Any, given: tuple[Any, ...], options: dict[str, Any]) -> Affine:
    """f(x) ≈ f(0) + gate · x, exact at the given x."""
    x, *others = given
    at_zero = packet(x.new_zeros([1, *x.shape[1:2], *[1] * (x.ndim - 2)]), *others, **options)  # for each channel
    # the slope of the straight line from (0, f(0)) to (x, f(x))
    gate = torch.where(x != 0, (packet(x, *others, **options) - at_zero) / x, torch.zeros_like(x))
    return lambda values: values * gate + at_zero


def batch_norm(given: tuple[Any, ...], training: bool) -> Affine | None:
    """(x − μ) / √(σ² + ε) · γ + β with running statistics; None with those of the batch."""
    x, weight, bias, mean, variance = given[:5]
    if training or mean is None:
        return None
    shape = [1, -1] + [1] * (x.ndim - 2)
    scale = (variance + given[-1]).rsqrt() * (1 if weight is None else weight)
    shift = (0 if bias is None else bias) - mean * scale
    return lambda values: values * scale.view(shape) + shift.view(shape)


def layer_norm(given: tuple[Any, ...]) -> Affine:
    """(x − mean of x) / σ · γ + β, σ held constant."""
    x, shape, weight, bias, epsilon = given
    axes = tuple(range(x.ndim - len(shape), x.ndim))
    inverse = (x.var(axes, correction=0, keepdim=True) + epsilon).rsqrt()
    scale, shift = 1 if weight is None else weight, 0 if bias is None else bias
    return lambda values: (values - values.mean(axes, keepdim=True)) * inverse * scale + shift


def group_norm(given: tuple[Any, ...]) -> Affine:
    """(x − mean of x's group) / σ · γ + β, σ held constant."""
    x, weight, bias, count, channels, _, groups, epsilon = given
    inverse = (x.reshape(count, groups, -1).var(2, correction=0, keepdim=True) + epsilon).rsqrt()
    scale, shift = (
        value if value is None else value.view(1, channels, *[1] * (x.ndim - 2)) for value in (weight, bias)
    )

    def apply(values: Tensor) -> Tensor:
        grouped = values.reshape(count, groups, -1)
        normal = ((grouped - grouped.mean(2, keepdim=True)) * inverse).view(x.shape)
        return normal * (1 if scale is None else scale) + (0 if shift is None else shift)

    return apply


def maximum_pooling(packet: Any, given: tuple[Any, ...], options: dict[str, Any]) -> Affine | None:
    """The value at the place of each maximum, held constant."""
    _, places = packet(*given, **options)
    if places.ndim != 4:
        return None
    return lambda values: values.flatten(2).gather(2, places.flatten(2)).view(places.shape)


def attention_weights(packet: Any, given: tuple[Any, ...], options: dict[str, Any]) -> Tensor | None:
    """(N, heads, queries, keys) of a fused attention; None for a kind without a rule (dropout, shared heads)."""
    names = [argument.name for argument in packet.default._schema.arguments]
    by_name = {**dict(zip(names, given, strict=False)), **options}
    query, key, scale = by_name["query"], by_name["key"], by_name.get("scale")
    bias = by_name.get("attn_mask", by_name.get("attn_bias"))
    if by_name.get("dropout_p", 0) > 0 or query.shape[:2] != key.shape[:2]:
        return None
    # softmax(Q Kᵀ / √d + bias); d is the last dimension unless a scale is given
    scores = query @ key.transpose(-2, -1) * (query.shape[-1] ** -0.5 if scale is None else scale)
    if by_name.get("is_causal", False):
        earlier = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
        scores = scores.masked_fill(~earlier, -torch.inf)
    if bias is not None:
        scores = scores.masked_fill(~bias, -torch.inf) if bias.dtype == torch.bool else scores + bias
    return scores.softmax(-1)


def of_first(packet: Any, given: tuple[Any, ...], options: dict[str, Any]) -> Affine | None:
    """The linearised form of an operation that is non-linear in its first argument alone; None if there is none.

    Args:
        packet: the operation, not in place.
        given: its arguments at the images.
        options: its keyword arguments.
    """
    if packet in ACTIVATIONS:
        return activation(packet, given, options)
    if packet in BATCH_NORMS:
        return batch_norm(given, packet is not ATEN._native_batch_norm_legit_no_training and given[5])
    if packet is ATEN.native_layer_norm:
        return layer_norm(given)
    if packet is ATEN.native_group_norm:
        return group_norm(given)
    if packet in (ATEN.max_pool2d_with_indices, ATEN.adaptive_max_pool2d):
        return maximum_pooling(packet, given, options)
    if packet is ATEN.as_strided and tuple(given[1]) == given[0].shape:
        return lambda values: values  # another order in memory, as adaptive pooling leaves it
    return None
