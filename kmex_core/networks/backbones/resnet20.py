"""ResNet-20, for small images."""

from __future__ import annotations

from torch import Tensor, nn

from kmex_core.base.errors import InputError
from kmex_core.networks.backbone import BackboneSource


class Block(nn.Module):
    """Two 3×3 convolutions beside a shortcut: torchvision's `BasicBlock`, with the same names, without its import.

    Args:
        inside, outside: channels.
        stride: of the first convolution.
    """

    def __init__(self, inside: int, outside: int, stride: int = 1, downsample: nn.Module | None = None) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inside, outside, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outside)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(outside, outside, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outside)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        """(N, inside, H, W) to (N, outside, H / stride, W / stride)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += shortcut
        result: Tensor = self.relu(out)
        return result


class ResNet20(BackboneSource):
    """ResNet-20 for small images (He et al. 2016, 4.2): three stages of three blocks, 16, 32, 64 channels; D = 64."""

    name = "resnet20"

    def names(self) -> list[str]:
        """The only name."""
        return [self.name]

    def build(self, name: str, classes: int, image_size: int, imagenet: bool) -> nn.Module:
        """See `BackboneSource.build`."""
        if imagenet:
            raise InputError(
                f"There are no ImageNet weights for '{name}'. Choose a backbone of torchvision, such as resnet18."
            )

        def stage(inside: int, outside: int, stride: int) -> nn.Sequential:
            shortcut = None
            if inside != outside:
                shortcut = nn.Sequential(nn.Conv2d(inside, outside, 1, stride, bias=False), nn.BatchNorm2d(outside))
            first = Block(inside, outside, stride, shortcut)
            return nn.Sequential(first, *(Block(outside, outside) for _ in range(2)))

        model = nn.Sequential()
        model.add_module("conv1", nn.Conv2d(3, 16, 3, padding=1, bias=False))
        model.add_module("bn1", nn.BatchNorm2d(16))
        model.add_module("relu", nn.ReLU(inplace=True))
        model.add_module("layer1", stage(16, 16, 1))
        model.add_module("layer2", stage(16, 32, 2))
        model.add_module("layer3", stage(32, 64, 2))
        model.add_module("avgpool", nn.AdaptiveAvgPool2d(1))
        model.add_module("flatten", nn.Flatten())
        model.add_module("fc", nn.Linear(64, classes))
        for part in model.modules():
            if isinstance(part, nn.Conv2d):
                nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")
        return model
