"""The detector: a small residual network with one map of plate centres at an eighth of the picture's size.

Plates are found as points (Zhou, Wang, Kraehenbuehl, "Objects as Points", 2019); sizes are four distances from a cell's
middle to the sides, learnt on every cell near a centre and not only on the centre itself (Liu et al., "Training-Time-
Friendly Network for Real-Time Object Detection", 2019), which learns several times faster. Only dense 3x3 and 1x1
convolutions with ReLU: the fastest on a processor, and every runtime knows them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

# Pixels of the picture for each cell of the output maps.
CELL = 8
# Sides of a picture must be multiples of it: the deepest map is at a thirty-second.
STRIDE = 32
# Mean and spread of a sample, about those of ordinary photographs.
_MEAN, _SPREAD = 114.0, 58.0
# Start with a heat of 0.01 everywhere: Lin et al., "Focal Loss for Dense Object Detection", 2017, section 4.1.
_FIRST_LOGIT = -4.6


class PlateNetwork(nn.Module):  # type: ignore[misc]  # PyTorch is not read
    """From pictures to maps.

    Args:
        widths: Channels at a half, a quarter, an eighth, a sixteenth and a thirty-second of the picture's size.
        depths: Residual blocks at an eighth, a sixteenth and a thirty-second.
    """

    def __init__(self, widths: Sequence[int] = (8, 16, 32, 64, 96), depths: Sequence[int] = (1, 2, 1)) -> None:
        super().__init__()
        half, quarter, eighth, sixteenth, last = widths
        self.stem = nn.Sequential(_conv(3, half, 2), _conv(half, quarter, 2))
        self.eighth = nn.Sequential(_conv(quarter, eighth, 2), *(_Residual(eighth) for _ in range(depths[0])))
        self.sixteenth = nn.Sequential(_conv(eighth, sixteenth, 2), *(_Residual(sixteenth) for _ in range(depths[1])))
        self.last = nn.Sequential(_conv(sixteenth, last, 2), *(_Residual(last) for _ in range(depths[2])))
        self.from_last = _conv(last, sixteenth, kernel=1)
        self.from_sixteenth = _conv(sixteenth, eighth, kernel=1)
        self.merge = _conv(sixteenth, sixteenth)
        self.head = nn.Sequential(_conv(eighth, eighth), _conv(eighth, eighth))
        self.heat = nn.Conv2d(eighth, 1, 1)
        self.sides = nn.Conv2d(eighth, 4, 1)
        nn.init.constant_(cast("Tensor", self.heat.bias), _FIRST_LOGIT)

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Maps of a batch.

        Args:
            pictures: (B, 3, h, w) float32 RGB, 0 to 255, sides multiples of `STRIDE`.

        Returns:
            Logits of the heat (B, 1, h/8, w/8) and natural logarithms of the distances, in cells, from each cell's
            middle to the left, top, right and bottom side (B, 4, h/8, w/8).
        """
        eighth = self.eighth(self.stem((pictures - _MEAN) / _SPREAD))
        sixteenth = self.sixteenth(eighth)
        last = self.from_last(self.last(sixteenth))
        merged = self.merge(sixteenth + functional.interpolate(last, scale_factor=2.0, mode="nearest"))
        finest = eighth + functional.interpolate(self.from_sixteenth(merged), scale_factor=2.0, mode="nearest")
        features = self.head(finest)
        return self.heat(features), self.sides(features).clamp(-6, 5)


class _Residual(nn.Module):  # type: ignore[misc]  # as above
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = _conv(channels, channels)
        self.second = nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels))

    def forward(self, features: Tensor) -> Tensor:
        return functional.relu(features + self.second(self.first(features)))


def _conv(inputs: int, outputs: int, stride: int = 1, kernel: int = 3) -> Any:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


def parameters_of(network: PlateNetwork) -> int:
    """How many numbers are learnt."""
    return sum(parameter.numel() for parameter in network.parameters())


def sides_to_boxes(log_sides: Tensor) -> Tensor:
    """Boxes of every cell, (B, 4, r, c) xyxy in cells."""
    rows, columns = log_sides.shape[-2:]
    y, x = torch.meshgrid(torch.arange(rows) + 0.5, torch.arange(columns) + 0.5, indexing="ij")
    middle = torch.stack((x, y)).to(log_sides)
    reach = log_sides.exp()
    return torch.cat((middle - reach[:, :2], middle + reach[:, 2:]), dim=1)
