"""COCO's instances format, read strictly enough to trust a number that comes of it.

Source: https://cocodataset.org/#format-data for images, annotations and categories; for films `frame_id`
and `track_id` as COCO-VID writes them; `frame` as `veilbox detect` does.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from veilbox.core.errors import UsageError

Box = tuple[float, float, float, float]
Place = tuple[str, int]

_ADVICE = "Give COCO's instances format: images, annotations with bbox, categories"


class _Image(msgspec.Struct, frozen=True):
    id: int
    file_name: str
    frame_id: int | None = None
    frame: int | None = None

    @property
    def place(self) -> Place:
        number = self.frame if self.frame_id is None else self.frame_id
        return self.file_name, number or 0


class _Annotation(msgspec.Struct, frozen=True):
    image_id: int
    category_id: int
    bbox: tuple[float, float, float, float]
    iscrowd: int = 0
    ignore: int = 0
    track_id: int | None = None


class _Category(msgspec.Struct, frozen=True):
    id: int
    name: str


class _Document(msgspec.Struct, frozen=True):
    images: tuple[_Image, ...]
    annotations: tuple[_Annotation, ...]
    categories: tuple[_Category, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Label:
    """One thing that is there.

    Attributes:
        category: The class's name.
        box: xyxy in pixels of the picture as a viewer sees it.
        identity: Whose it is, in films; the same in every frame.
        ignored: Whether finding it is neither right nor wrong (a crowd, or marked so).
    """

    category: str
    box: Box
    identity: int | None = None
    ignored: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Labels:
    """All labels of a set.

    Attributes:
        places: By file name and frame (from 0; 0 for images), also of pictures with nothing in them.
        categories: Names of the classes that are labelled.
    """

    places: Mapping[Place, tuple[Label, ...]]
    categories: tuple[str, ...]

    def at(self, name: str, frame: int) -> tuple[Label, ...] | None:
        """The labels of one picture, or None if the set does not speak of it.

        Args:
            name: Its path; the set may name the whole path or an end of it.
            frame: From 0; 0 for images.
        """
        parts = name.split("/")
        for first in range(len(parts)):
            found = self.places.get(("/".join(parts[first:]), frame))
            if found is not None:
                return found
        return None


def parse_labels(content: bytes) -> Labels:
    """The labels in the bytes of a file.

    Args:
        content: UTF-8 JSON; fields that are not named above are not read.

    Raises:
        UsageError: It is no such document, an annotation names what is not there, a picture is named twice, or a box
            is not finite or of negative size.
    """
    try:
        document = msgspec.json.decode(content, type=_Document)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise UsageError("labels cannot be read", where="--labels", actual=str(error), advice=_ADVICE) from error
    names = {category.id: category.name for category in document.categories}
    images = {image.id: image.place for image in document.images}
    _require_single(images, document)
    places: dict[Place, list[Label]] = {place: [] for place in images.values()}
    for number, annotation in enumerate(document.annotations):
        if annotation.image_id not in images or annotation.category_id not in names:
            raise _refused(number, "an image and a category of the document", f"{annotation.image_id}")
        places[images[annotation.image_id]].append(_label(number, annotation, names))
    return Labels(
        places={place: tuple(labels) for place, labels in places.items()},
        categories=tuple(dict.fromkeys(names.values())),
    )


def _require_single(images: Mapping[int, Place], document: _Document) -> None:
    twice = [place for place, count in Counter(images.values()).items() if count > 1]
    if len(images) != len(document.images) or twice:
        raise UsageError(
            "labels name a picture twice",
            where="--labels",
            actual=", ".join(f"{name} frame {frame}" for name, frame in twice[:3]),
            advice="Give every frame of a film its own frame_id",
        )


def _label(number: int, annotation: _Annotation, names: Mapping[int, str]) -> Label:
    x, y, width, height = annotation.bbox
    if not all(map(math.isfinite, annotation.bbox)) or width < 0 or height < 0:
        raise _refused(number, "a finite box of a width and height of 0 or more", str(annotation.bbox))
    return Label(
        category=names[annotation.category_id],
        box=(x, y, x + width, y + height),
        identity=annotation.track_id,
        ignored=bool(annotation.iscrowd or annotation.ignore),
    )


def _refused(number: int, expected: str, actual: str) -> UsageError:
    return UsageError(
        "a label is not usable",
        where=f"--labels annotations[{number}]",
        expected=expected,
        actual=actual,
        advice=_ADVICE,
    )
