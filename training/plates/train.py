"""Trains the plate detector: `python -m plates.train --config plates/plates.toml --data FOLDER --out FOLDER`.

A run stopped at any time goes on from its last checkpoint when the same command is given again, with whatever the
renderer and the configuration then are. The schedule is by the clock, so that a slow machine ends in time too.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import time
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from plates.backgrounds import Photograph, load_labelled, load_packaged, split_by_time
from plates.fonts import FontBook
from plates.measure import IOU, Finder, Found, Score, fitted, iou, score_of, thinned
from plates.network import CELL, STRIDE, PlateNetwork, parameters_of, sides_to_boxes
from plates.samples import Recipe, Sample, SampleMaker
from plates.supply import supply
from plates.targets import targets_of

_log = logging.getLogger("plates.train")
# Seeds of the validation's drawn samples and of the bank; the training's own come from the configuration and step.
_VALIDATION_SEED = 7
_VALIDATION_SAMPLES = 192
# The lowest heat that is looked at when validating.
_FLOOR = 0.02
# What scored as much and met no label was mostly a plate that nobody labelled: some 27 of the 40 best of the
# validation's pictures, looked at by eye (2026-11).
_UNSURE = 0.4


@dataclass(frozen=True, slots=True)
class Batch:
    """Tensors of one step: pictures (B, 3, s, s) and the maps of `targets.Targets`, stacked."""

    pictures: Tensor
    heat: Tensor
    counts: Tensor
    boxes: Tensor
    weight: Tensor


def batch_of(samples: list[Sample], device: str = "cpu") -> Batch:
    """Samples as tensors of a device."""
    side = samples[0].picture.shape[0]
    targets = [targets_of(sample.boxes, sample.ignored, side=side, cell=CELL) for sample in samples]
    pictures = np.stack([sample.picture for sample in samples]).transpose(0, 3, 1, 2).astype(np.float32)
    maps = [np.stack([getattr(target, name) for target in targets]) for name in ("heat", "counts", "boxes", "weight")]
    tensors = [torch.from_numpy(np.ascontiguousarray(array)).to(device) for array in (pictures, *maps)]
    return Batch(tensors[0].contiguous(memory_format=torch.channels_last), *tensors[1:])


def heat_loss(logits: Tensor, batch: Batch) -> Tensor:
    """Focal loss on the heat, for each plate: Zhou et al., 2019, equation 1, with alpha 2 and beta 4."""
    heat = logits[:, 0].sigmoid()
    log_heat, log_cold = functional.logsigmoid(logits[:, 0]), functional.logsigmoid(-logits[:, 0])
    peak = batch.heat >= 1
    present = log_heat * (1 - heat) ** 2
    absent = log_cold * heat**2 * (1 - batch.heat) ** 4
    loss = -torch.where(peak, present, absent) * batch.counts
    return loss.sum() / peak.sum().clamp(min=1)


def box_loss(log_sides: Tensor, batch: Batch) -> Tensor:
    """1 - GIoU on the cells near centres: Rezatofighi et al., "Generalized Intersection over Union", 2019."""
    found, wanted = sides_to_boxes(log_sides), batch.boxes
    low, high = torch.maximum(found[:, :2], wanted[:, :2]), torch.minimum(found[:, 2:], wanted[:, 2:])
    overlap = (high - low).clamp(min=0).prod(dim=1)
    union = _area(found) + _area(wanted) - overlap
    hull = (torch.maximum(found[:, 2:], wanted[:, 2:]) - torch.minimum(found[:, :2], wanted[:, :2])).prod(dim=1)
    giou = overlap / union.clamp(min=1e-6) - (hull - union) / hull.clamp(min=1e-6)
    return ((1 - giou) * batch.weight).sum() / batch.weight.sum().clamp(min=1)


def _area(boxes: Tensor) -> Tensor:
    return (boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(dim=1)


def rate_at(share: float, highest: float, warm_up: float) -> float:
    """The learning rate at a share of the schedule: a straight rise, then half a cosine down to a hundredth."""
    if share < warm_up:
        return highest * share / warm_up
    fall = (min(share, 1.0) - warm_up) / (1 - warm_up)
    return highest * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * fall)))


class Run:
    """One training, from its start or its last checkpoint.

    Args:
        config: The parsed configuration.
        maker: Makes the samples.
        folder: Where checkpoints lie.
        device: `cpu` or `cuda`.
        workers: Processes that make samples.
        start: A checkpoint of another run, whose averaged weights are the first ones; None begins with chance's.
    """

    def __init__(
        self,
        config: dict[str, Any],
        maker: SampleMaker,
        folder: Path,
        *,
        device: str = "cpu",
        workers: int = 1,
        start: Path | None = None,
    ) -> None:
        self._config, self._folder, self._device = config, folder, device
        torch.manual_seed(config["seed"])
        # Channels last: measured on two cores without AVX-512, a step takes two thirds of the time.
        self.network, self.mean = (
            PlateNetwork(**config["network"]).to(memory_format=torch.channels_last) for _ in range(2)
        )
        for network in (self.network, self.mean):
            network.to(device)
        if start is not None:
            self.network.load_state_dict(_averaged_of(start, device))
        self.mean.load_state_dict(self.network.state_dict())
        settings = config["training"]
        self._optimiser = torch.optim.AdamW(self.network.parameters(), weight_decay=settings["weight_decay"])
        self.step, self._spent, self.best = 0, 0.0, -1.0
        self._resume()
        self._supply = supply(maker, seed=config["seed"], first=self.step, count=settings["batch"], workers=workers)

    @property
    def share(self) -> float:
        """How much of the schedule is done."""
        return self._spent / (3600 * float(self._config["training"]["hours"]))

    def advance(self) -> tuple[float, float]:
        """One step; gives the two losses."""
        started, settings = time.monotonic(), self._config["training"]
        batch = batch_of(next(self._supply), self._device)
        for group in self._optimiser.param_groups:
            group["lr"] = rate_at(self.share, settings["rate"], settings["warm_up"])
        self.network.train()
        logits, log_sides = self.network(batch.pictures)
        heat, box = heat_loss(logits, batch), box_loss(log_sides, batch)
        self._optimiser.zero_grad(set_to_none=True)
        (heat + settings["box_weight"] * box).backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 10.0)
        self._optimiser.step()
        self._average(float(settings["ema"]))
        self.step += 1
        self._spent += time.monotonic() - started
        return heat.item(), box.item()

    def _average(self, decay: float) -> None:
        decay = min(decay, (1 + self.step) / (10 + self.step))  # the first steps' weights are soon forgotten
        current = self.network.state_dict()
        for name, value in self.mean.state_dict().items():
            if value.dtype.is_floating_point:
                value.lerp_(current[name], 1 - decay)
            else:
                value.copy_(current[name])

    def save(self, score: float) -> None:
        """Write `last.pt`, and `best.pt` when the score is the best so far; a crash leaves the former one whole."""
        better = score >= self.best
        self.best = max(self.best, score)
        state = {
            "network": self.network.state_dict(),
            "mean": self.mean.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "step": self.step,
            "spent": self._spent,
            "best": self.best,
            "config": json.dumps(self._config),
        }
        for name in ("last", "best") if better else ("last",):
            torch.save(state, self._folder / f"{name}.part")
            (self._folder / f"{name}.part").replace(self._folder / f"{name}.pt")

    def _resume(self) -> None:
        path = self._folder / "last.pt"
        if not path.exists():
            return
        state = torch.load(path, map_location=self._device, weights_only=True)
        self.network.load_state_dict(state["network"])
        self.mean.load_state_dict(state["mean"])
        self._optimiser.load_state_dict(state["optimiser"])
        self.step, self._spent, self.best = state["step"], state["spent"], state["best"]
        _log.info("goes on at step %d, best %.3f", self.step, self.best)


def _averaged_of(checkpoint: Path, device: str = "cpu") -> dict[str, Any]:
    averaged: dict[str, Any] = torch.load(checkpoint, map_location=device, weights_only=True)["mean"]
    return averaged


def _network_of(config: dict[str, Any], checkpoint: Path) -> PlateNetwork:
    network = PlateNetwork(**config["network"])
    network.load_state_dict(_averaged_of(checkpoint))
    return network


def with_unsure(network: PlateNetwork, photographs: list[Photograph]) -> list[Photograph]:
    """The photographs with what an earlier network takes for plates and no label meets: most are plates."""
    find = finder(network)
    return [replace(one, unsure=_unlabelled(find, one)) for one in photographs]


def _unlabelled(find: Finder, photograph: Photograph) -> NDArray[np.float64]:
    picture, scale = fitted(photograph.picture, longest=640, stride=STRIDE, upscale=False)
    boxes, scores = thinned(*find(picture))
    sure: NDArray[np.float64] = (boxes[scores >= _UNSURE] / scale).astype(np.float64)
    if not len(photograph.boxes) or not len(sure):
        return sure
    apart: NDArray[np.bool_] = iou(sure, photograph.boxes).max(axis=1) < IOU
    return sure[apart]


def finder(network: PlateNetwork) -> Finder:
    """A function from a picture, (h, w, 3) uint8, to all its boxes (N, 4) and scores (N,), not yet thinned out."""

    def find(picture: NDArray[np.uint8]) -> Found:
        network.eval()
        planes = torch.from_numpy(picture.transpose(2, 0, 1)[None].astype(np.float32))
        with torch.no_grad():
            logits, log_sides = network(planes.to(network.heat.weight.device))
        heat = logits.sigmoid()
        peak = (heat == functional.max_pool2d(heat, 3, 1, 1)) & (heat > _FLOOR)
        boxes = sides_to_boxes(log_sides)[0].permute(1, 2, 0)[peak[0, 0]] * CELL
        return boxes.cpu().numpy(), heat[peak].cpu().numpy()

    return find


def validate(network: PlateNetwork, real: list[Photograph], drawn: list[Photograph]) -> tuple[Score, Score]:
    """Scores on real pictures at 640 pixels and on drawn samples."""
    find = finder(network)
    return score_of(find, real, longest=640, stride=STRIDE), score_of(find, drawn, longest=640, stride=STRIDE)


def main() -> None:
    """Parse the command line and train to the schedule's end."""
    arguments = _arguments()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    config = tomllib.loads(arguments.config.read_text())
    if arguments.hours is not None:
        config["training"]["hours"] = arguments.hours
    arguments.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(config["threads"])
    training, real = split_by_time(load_labelled(arguments.data))
    if arguments.start is not None:
        training = with_unsure(_network_of(config, arguments.start), training)
    fonts, packaged, recipe = FontBook(arguments.fonts), load_packaged(), Recipe(**config["recipe"])
    maker = SampleMaker(training, packaged, fonts, recipe, bank=config["training"]["bank"], seed=config["seed"])
    drawn = _drawn_validation(SampleMaker(real, packaged, fonts, recipe))
    run = Run(config, maker, arguments.out, device=arguments.device, workers=arguments.workers, start=arguments.start)
    _log.info("%d parameters, %d pictures, %d to validate", parameters_of(run.network), len(training), len(real))
    _train(run, real, drawn, minutes=config["training"]["checkpoint_minutes"])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True, help="folder of the labelled photographs")
    parser.add_argument("--fonts", type=Path, action="append", default=[], help="folder of typefaces")
    parser.add_argument("--out", type=Path, required=True, help="folder of the checkpoints")
    parser.add_argument("--start", type=Path, metavar="CHECKPOINT", help="go on from another run's averaged weights")
    parser.add_argument("--hours", type=float, help="length of the schedule instead of the configuration's")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--workers", type=int, default=1, help="processes that make samples")
    return parser.parse_args()


def _drawn_validation(maker: SampleMaker) -> list[Photograph]:
    random = np.random.default_rng(_VALIDATION_SEED)
    samples = [maker.make(random) for _ in range(_VALIDATION_SAMPLES)]
    return [Photograph(str(number), sample.picture, sample.boxes) for number, sample in enumerate(samples)]


def _train(run: Run, real: list[Photograph], drawn: list[Photograph], *, minutes: float) -> None:
    saved, heat, box = time.monotonic(), 0.0, 0.0
    while run.share < 1:
        losses = run.advance()
        heat, box = 0.95 * heat + 0.05 * losses[0], 0.95 * box + 0.05 * losses[1]
        if run.step % 50 == 0:
            _log.info("step %d (%.0f %%) heat %.3f box %.3f", run.step, 100 * run.share, heat, box)
        if time.monotonic() - saved > 60 * minutes or run.share >= 1:
            scores = validate(run.mean, real, drawn)
            run.save((scores[0].average + scores[1].average) / 2)
            _log.info("step %d real %s drawn %s", run.step, *scores)
            saved = time.monotonic()


if __name__ == "__main__":
    main()
