"""Maps of all prototypes for one image by the published rules: in one pass, beside one pass of zennit for each."""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.timing import Work, alternated, compared

OURS, ZENNIT = "KMEx Explorer, one pass", "zennit, one pass for each map"
NETWORKS = (("resnet20", 32, 50), ("resnet34", 32, 50), ("resnet18", 224, 10))  # backbone, side, maps
LOW, HIGH = (-2.0, -2.0, -2.0), (2.0, 2.0, 2.0)


def measure(networks: tuple[tuple[str, int, int], ...] = NETWORKS, rounds: int = 5) -> list[dict[str, Any]]:
    """Seconds and peak memory of both, and how far their maps differ, for networks with random weights."""
    rows = []
    for name, side, maps in networks:
        prepared = {who: partial(_prepared, who, name, side, maps) for who in (OURS, ZENNIT)}
        taken = alternated(prepared, rounds)
        what = f"{maps} maps of one image of {side} × {side}, {name}"
        rows += compared(what, taken, OURS)
        ours, theirs = taken[OURS].result, taken[ZENNIT].result
        difference = float((ours - theirs).abs().max() / theirs.abs().max())
        rows.append(
            {
                "what": f"{what}: largest difference between the two, of the largest relevance",
                "median": float(f"{difference:.2g}"),
                "runs": 1,
                "unit": "",
                "better": "lower",
            }
        )
    return rows


def _prepared(who: str, name: str, side: int, maps: int) -> Work:
    from kmex_core.networks import architectures
    from kmex_core.networks.splitting import split

    torch.manual_seed(0)
    encoder = split(architectures.build(name, 10, side)).encoder.eval()
    image = torch.randn(1, 3, side, side).clamp(-2, 2)
    with torch.no_grad():
        z = encoder(image)
    starts = torch.randn(maps, z.shape[1])
    return (one_pass if who == OURS else pass_each)(encoder, image, z, starts)


def one_pass(encoder: nn.Module, image: Tensor, z: Tensor, starts: Tensor) -> Work:
    """Ours: (M, C, H, W) from an image (1, C, H, W), its embedding (1, D) and M starts (M, D)."""
    from kmex_core.relevance.lrp import lrp_of

    lrp = lrp_of(encoder, LOW, HIGH, image.shape[1:])
    index = torch.zeros(len(starts), dtype=torch.int64, device=starts.device)
    return lambda: lrp.maps(image, starts, z, index)[0]


def pass_each(encoder: nn.Module, image: Tensor, z: Tensor, starts: Tensor) -> Work:
    """The same with zennit's rules on the same layers, whose normalisations are merged as its canonizers do."""
    from zennit.composites import SpecialFirstLayerMapComposite
    from zennit.layer import Sum
    from zennit.rules import AlphaBeta, Epsilon, Pass, ZBox
    from zennit.types import Activation, AvgPool, Convolution, Linear

    from kmex_core.relevance.composites import PoolEpsilon
    from kmex_core.relevance.layers import layers_of

    network = copy.deepcopy(layers_of(encoder, image).network)
    low, high = (torch.tensor(ends, device=image.device).view(1, 3, 1, 1) for ends in (LOW, HIGH))
    rules = [
        (Activation, Pass()),
        (Convolution, AlphaBeta(1, 0, zero_params=["bias"])),
        (Linear, Epsilon(1e-6, zero_params=["bias"])),
        (AvgPool, PoolEpsilon()),
        (Sum, Epsilon(1e-6)),
    ]
    first = [(kind, ZBox(low, high, zero_params=["bias"])) for kind in (Convolution, Linear)]
    SpecialFirstLayerMapComposite(rules, first).register(network)

    def work() -> Tensor:
        found = []
        for row in range(len(starts)):
            inputs = image.clone().requires_grad_()
            found.append(torch.autograd.grad(network(inputs), inputs, starts[row : row + 1])[0])
        return torch.cat(found)

    return work
