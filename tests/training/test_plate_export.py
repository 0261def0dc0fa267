"""The exported graph: loads in the product, takes any size, and is what the network computes."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto

from plates.evaluate import by_tiles
from plates.export import to_onnx, write
from veilbox.vision.detect import Detector, load_detector

Numbers = dict[str, NDArray[np.float32]]


class Untrained:
    """Random numbers under the names that the network gives them."""

    def __init__(self) -> None:
        self._random = np.random.default_rng(4)
        self.numbers: Numbers = {}

    def layer(self, prefix: str, inputs: int, outputs: int, kernel: int = 3) -> None:
        self.pair(f"{prefix}.0", f"{prefix}.1", inputs, outputs, kernel)

    def pair(self, convolution: str, norm: str, inputs: int, outputs: int, kernel: int = 3) -> None:
        spread = (2 / (inputs * kernel**2)) ** 0.5
        self.numbers[f"{convolution}.weight"] = self._normal((outputs, inputs, kernel, kernel), spread)
        for name in ("weight", "running_var"):
            self.numbers[f"{norm}.{name}"] = 1 + np.abs(self._normal((outputs,), 0.1))
        for name in ("bias", "running_mean"):
            self.numbers[f"{norm}.{name}"] = self._normal((outputs,), 0.1)

    def stage(self, prefix: str, inputs: int, outputs: int, blocks: int) -> None:
        self.layer(f"{prefix}.0", inputs, outputs)
        for block in range(1, blocks + 1):
            self.layer(f"{prefix}.{block}.first", outputs, outputs)
            self.pair(f"{prefix}.{block}.second.0", f"{prefix}.{block}.second.1", outputs, outputs)

    def plain(self, name: str, inputs: int, outputs: int) -> None:
        self.numbers[f"{name}.weight"] = self._normal((outputs, inputs, 1, 1), 0.3)
        self.numbers[f"{name}.bias"] = self._normal((outputs,), 0.1)

    def _normal(self, shape: tuple[int, ...], spread: float) -> NDArray[np.float32]:
        return self._random.normal(0, spread, shape).astype(np.float32)


def untrained(widths: tuple[int, ...] = (4, 6, 8, 10, 12), depths: tuple[int, ...] = (1, 2, 1)) -> Numbers:
    made, (half, quarter, eighth, sixteenth, last) = Untrained(), widths
    made.layer("stem.0", 3, half)
    made.layer("stem.1", half, quarter)
    made.stage("eighth", quarter, eighth, depths[0])
    made.stage("sixteenth", eighth, sixteenth, depths[1])
    made.stage("last", sixteenth, last, depths[2])
    made.layer("from_last", last, sixteenth, 1)
    made.layer("from_sixteenth", sixteenth, eighth, 1)
    made.layer("merge", sixteenth, sixteenth)
    made.layer("head.0", eighth, eighth)
    made.layer("head.1", eighth, eighth)
    made.plain("heat", eighth, 1)
    made.plain("sides", eighth, 4)
    return made.numbers


@pytest.fixture
def detector(tmp_path: Path) -> Detector:
    write(untrained(), tmp_path, threshold=0.3, floor=0.01)
    return load_detector(tmp_path, threads=1)


def noise(rows: int, columns: int) -> NDArray[np.uint8]:
    return np.random.default_rng(rows).integers(0, 256, (rows, columns, 3), np.uint8)


def test_the_file_is_the_same_for_the_same_numbers_and_takes_any_size() -> None:
    model = to_onnx(untrained())
    assert model == to_onnx(untrained())
    graph = onnx.load_model_from_string(model).graph
    assert graph.input[0].type.tensor_type.elem_type == TensorProto.UINT8
    dims = graph.input[0].type.tensor_type.shape.dim
    assert [dim.dim_value or dim.dim_param for dim in dims] == [1, "height", "width", 3]
    assert [output.name for output in graph.output] == ["heatmap", "distances"]


def test_more_blocks_make_more_nodes() -> None:
    sizes = [len(onnx.load_model_from_string(to_onnx(untrained(depths=(n, 1, 1)))).graph.node) for n in (1, 3)]
    assert sizes[1] - sizes[0] == 2 * 5  # each block: two convolutions, two ReLUs, one sum


@pytest.mark.parametrize("size", [(32, 32), (96, 160), (160, 96)])
def test_the_product_runs_it(detector: Detector, size: tuple[int, int]) -> None:
    found = detector.detect(noise(*size))
    assert len(found) > 0
    assert (found.boxes[:, 2:] <= size[::-1]).all()


def test_only_local_maxima_are_hot(tmp_path: Path, detector: Detector) -> None:
    import onnxruntime  # type: ignore[import-untyped]  # noqa: PLC0415  # after the detector's door has set its ways

    del detector
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    heat, distances = session.run(None, {"picture": noise(128, 128)[None]})
    assert (heat.shape, distances.shape) == ((1, 1, 16, 16), (1, 4, 16, 16))
    assert (distances > 0).all()
    for row, column in np.argwhere(heat[0, 0]):
        around = heat[0, 0, max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2]
        assert around.max() == heat[0, 0, row, column]


def test_tiles_cover_the_picture_and_give_boxes_of_it(detector: Detector) -> None:
    boxes, scores = by_tiles(detector)(noise(704, 1280))
    assert len(boxes) == len(scores) > 0
    assert (boxes[:, 2:].max(axis=0) > (1200, 640)).all()
    assert (boxes[:, 2:] <= (1280, 704)).all()


def test_the_graph_computes_what_the_network_does(tmp_path: Path) -> None:
    if importlib.util.find_spec("torch") is None:
        pytest.skip("PyTorch is not installed: only training needs it (training/requirements.txt)")
    import torch  # noqa: PLC0415

    from plates import export, network  # noqa: PLC0415

    assert (export.CELL, export._MEAN, export._SPREAD) == (network.CELL, network._MEAN, network._SPREAD)
    numbers = untrained()
    made = network.PlateNetwork(widths=(4, 6, 8, 10, 12), depths=(1, 2, 1)).eval()
    state = {name: torch.from_numpy(value) for name, value in numbers.items()}
    assert {name for name in made.state_dict() if not name.endswith("num_batches_tracked")} == set(state)
    made.load_state_dict(state, strict=False)
    write(numbers, tmp_path, threshold=0.3, floor=0.01)
    detector = load_detector(tmp_path, threads=1)
    picture = noise(64, 96)
    heat, distances = detector._session.run(picture)
    with torch.no_grad():
        logits, log_sides = made(torch.from_numpy(picture.transpose(2, 0, 1)[None].astype(np.float32)))
    assert heat.max() == pytest.approx(float(logits.sigmoid().max()), abs=1e-5)
    assert distances == pytest.approx(log_sides.exp().numpy() * network.CELL, rel=1e-3)
