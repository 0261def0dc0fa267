"""Options that commands share, and the policy that they spell."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from veilbox.core.errors import UsageError
from veilbox.core.metadata import Allowance, MetadataField, Preset
from veilbox.core.policy import (
    MAX_CELLS,
    Keep,
    Policy,
    Recall,
    Retention,
    Runtime,
    Shape,
    Style,
    Verdict,
    Verification,
)
from veilbox.core.zones import Zone, parse_zone
from veilbox.orchestrate.plan import DETECTORS

# Classes that the built-in models know.
CLASSES = tuple(DETECTORS)


def add_detection_options(parser: argparse.ArgumentParser) -> None:
    """What to look for and how hard, and how strong the walls must be."""
    parser.add_argument(
        "--policy",
        type=Path,
        metavar="FILE",
        help="a policy in TOML or JSON (docs/reference/policy.md); options beside it take the place of what it says",
    )
    group = parser.add_argument_group("detection")
    group.add_argument(
        "--hide",
        action="append",
        metavar="CLASS",
        help=f"what to hide: {', '.join(CLASSES)}, or what a model of --model finds (default: face); repeatable",
    )
    group.add_argument(
        "--model",
        action="append",
        metavar="NAME[@DIGEST]",
        help="detect with this model, as `veilbox model list` prints it; the built-in ones find what it does not; "
        "repeatable",
    )
    group.add_argument(
        "--recall",
        choices=_words(Recall),
        help="how much is worth finding: sizes and scores follow (default: balanced)",
    )
    group.add_argument(
        "--threshold", type=float, metavar="SCORE", help="lowest score that counts, 0 to 1 (default: the model's)"
    )
    group.add_argument(
        "--film-side",
        type=int,
        metavar="PIXELS",
        help="longer side at which films are searched (default: as --recall says, 640)",
    )
    group.add_argument(
        "--image-side",
        type=int,
        metavar="PIXELS",
        help="longer side at which images are searched (default: as --recall says, 1280)",
    )
    walls = parser.add_argument_group("walls")
    walls.add_argument(
        "--isolation",
        metavar="auto|LEVEL",
        help="least isolation level, 0 to 6, that every component must measure from inside before the first frame; "
        "auto takes the strongest that this machine offers (default)",
    )
    walls.add_argument(
        "--runtime",
        choices=_words(Runtime),
        help="what runs the components (default: auto, crun or runc; runsc where --isolation is 5); process: where "
        "there is no runtime, sealed processes, whose walls are weaker; never taken unasked",
    )
    walls.add_argument(
        "--deadline",
        type=float,
        metavar="SECONDS",
        help="silence after which a component counts as hung and ends the job (default: 30; at start at least 10)",
    )


def add_covering_options(group: argparse._ArgumentGroup) -> None:
    """Which pixels of a film are hidden, by what was found in its frames."""
    group.add_argument("--shape", choices=_words(Shape), help="default: box")
    group.add_argument(
        "--margin", type=float, metavar="SHARE", help="added on each side, as a share of the box (default: 0.15)"
    )
    group.add_argument("--lookahead", type=int, metavar="FRAMES", help="frames to wait for what follows (default: 12)")
    group.add_argument(
        "--low-latency",
        action="store_const",
        const=True,
        help="no frame waits for what follows: larger margins make up for it, gaps before a first detection stay open",
    )
    group.add_argument(
        "--stride",
        type=int,
        metavar="FRAMES",
        help="frames from one detection to the next (default: 1, every frame; with --recall fast where needed)",
    )


def add_zone_option(group: argparse._ActionsContainer) -> None:
    """Which parts of a picture are hidden or kept, whatever is found there."""
    group.add_argument(
        "--zone",
        action="append",
        metavar="ZONE",
        help="a polygon that is always hidden: 'X,Y X,Y X,Y...' in shares of width and height, or in pixels with the "
        "picture's size before them: '1920x1080 X,Y...'; 'keep' in front leaves visible what lies wholly inside. "
        "Repeatable; zones of one camera stand in a policy file",
    )


def add_redaction_options(parser: argparse.ArgumentParser) -> None:
    """How to hide, what may stay, and how to encode."""
    group = parser.add_argument_group("redaction")
    group.add_argument("--style", choices=_words(Style), help="default: solid, which keeps nothing of what it hides")
    group.add_argument(
        "--cells",
        type=int,
        metavar="N",
        help=f"independent cells across a region for pixelate and blur, 1 to {MAX_CELLS} (default: 6)",
    )
    add_covering_options(group)
    group.add_argument(
        "--feather", type=float, metavar="SHARE", help="soft border around it, as a share of the box (default: 0)"
    )
    add_zone_option(group)
    group.add_argument("--keep", action="append", choices=_words(Keep), help="what may stay besides pixels; repeatable")
    group.add_argument(
        "--metadata",
        metavar="PRESET|FIELD,...",
        help=f"what a picture may keep saying about itself: {', '.join(Preset)} (default: none), or fields by name: "
        f"{', '.join(MetadataField)}; no thumbnail stays under any of them",
    )
    group.add_argument(
        "--c2pa",
        action="store_const",
        const=True,
        help="put a signed C2PA manifest into outputs: that they were redacted, how, and under which entry of the "
        "audit log (JPEG, PNG, WebP, MP4, MOV; default: none)",
    )
    group.add_argument(
        "--log-names", action="store_const", const=True, help="let the audit log hold paths, not only keyed digests"
    )
    encoding = parser.add_argument_group("encoding, in FFmpeg's words")
    encoding.add_argument("--encoder", metavar="NAME", help="libx264, libx265, libvpx-vp9, libsvtav1, mpeg4, …")
    encoding.add_argument("--preset", metavar="NAME", help="the encoder's preset (default: veryfast for libx264)")
    encoding.add_argument("--crf", type=int, metavar="N", help="constant rate factor (default: 20 for libx264)")
    encoding.add_argument(
        "--re-encode",
        action="store_const",
        const=True,
        help="decode and encode JPEG pictures as a whole, not only the blocks in which something is hidden",
    )


def add_verification_options(parser: argparse.ArgumentParser) -> None:
    """What is asked of an output before it is released."""
    group = parser.add_argument_group("verification of the output")
    verdicts = _words(Verdict)
    group.add_argument(
        "--on-structure",
        choices=verdicts,
        help="what becomes of an output with a part that is on no allow-list, or that does not decode to the source's "
        "frames (default: fail)",
    )
    group.add_argument(
        "--on-residual",
        choices=verdicts,
        help="what becomes of an output in which a region is not hidden, or a second look finds something "
        "(default: quarantine, which keeps it encrypted)",
    )
    group.add_argument(
        "--residual-score",
        type=float,
        metavar="SCORE",
        help=f"lowest score of the second look that counts, 0 to 1 (default: {Verification().score})",
    )
    group.add_argument(
        "--verify-stride",
        type=int,
        metavar="FRAMES",
        help=f"frames of a film from one second look to the next (default: {Verification().stride}); what was hidden "
        "is looked at in every frame",
    )


def add_retention_option(parser: argparse.ArgumentParser) -> None:
    """What becomes of sources."""
    parser.add_argument(
        "--source",
        choices=_words(Retention),
        help="what becomes of a source once its output is on stable storage under its name (default: keep); encrypt "
        "leaves SOURCE.veilbox, opened by `veilbox decrypt` until `veilbox purge`",
    )


def _words(choice: type[StrEnum]) -> tuple[str, ...]:
    # argparse quotes a wrong choice's alternatives by `repr` on Python 3.11: a member's is not what one types.
    return tuple(member.value for member in choice)


def policy_from(arguments: argparse.Namespace) -> Policy:
    """The policy that the options spell; what they do not say is the policy file's, or a policy's default.

    Raises:
        SourceMissing: The policy file cannot be opened.
        UsageError: It is no policy, or a value is out of bounds.
    """
    base = Policy() if arguments.policy is None else _read(arguments.policy)
    said: dict[str, dict[str, Any]] = {}
    for part, field, option, value_of in _SPELLED:
        value = getattr(arguments, option, None)
        if value is not None:
            said.setdefault(part, {})[field] = value_of(value)
    whole = said.pop("", {})
    return replace(base, **whole, **{part: replace(getattr(base, part), **values) for part, values in said.items()})


def _read(path: Path) -> Policy:
    from veilbox.orchestrate.policy_file import read_policy  # noqa: PLC0415

    return read_policy(path)


def _level(text: str) -> int | None:
    if text == "auto":
        return None
    if not text.isdecimal():
        raise UsageError("no such isolation level", where="--isolation", expected="auto or 0 to 6", actual=text)
    return int(text)


def _names(said: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(said))


def _kept(said: Sequence[str]) -> tuple[Keep, ...]:
    return tuple(map(Keep, _names(said)))


def _zones(said: Sequence[str]) -> tuple[Zone, ...]:
    return tuple(map(parse_zone, said))


def _metadata(said: str) -> Allowance:
    if said in [*Preset]:
        return Preset(said)
    names = said.split(",")
    unknown = [name for name in names if name not in [*MetadataField]]
    if unknown:
        raise UsageError(
            "no such field of metadata",
            where="--metadata",
            expected=", ".join((*Preset, *MetadataField)),
            actual=unknown[0],
        )
    return tuple(map(MetadataField, names))


# Part and field of the policy, the option that spells it, and what makes the field's value of the option's.
_SPELLED: tuple[tuple[str, str, str, Callable[[Any], Any]], ...] = (
    ("redaction", "style", "style", Style),
    ("redaction", "cells", "cells", int),
    ("redaction", "shape", "shape", Shape),
    ("redaction", "margin", "margin", float),
    ("redaction", "feather", "feather", float),
    ("detection", "classes", "hide", _names),
    ("detection", "models", "model", tuple),
    ("detection", "recall", "recall", Recall),
    ("detection", "threshold", "threshold", float),
    ("detection", "film_side", "film_side", int),
    ("detection", "image_side", "image_side", int),
    ("detection", "stride", "stride", int),
    ("tracking", "lookahead", "lookahead", int),
    ("tracking", "low_latency", "low_latency", bool),
    ("encoding", "encoder", "encoder", str),
    ("encoding", "preset", "preset", str),
    ("encoding", "crf", "crf", int),
    ("encoding", "re_encode", "re_encode", bool),
    ("verification", "structure", "on_structure", Verdict),
    ("verification", "residual", "on_residual", Verdict),
    ("verification", "score", "residual_score", float),
    ("verification", "stride", "verify_stride", int),
    ("", "keep", "keep", _kept),
    ("", "zones", "zone", _zones),
    ("", "metadata", "metadata", _metadata),
    ("", "c2pa", "c2pa", bool),
    ("", "log_names", "log_names", bool),
    ("", "retention", "source", Retention),
    ("", "minimum_isolation", "isolation", _level),
    ("", "runtime", "runtime", Runtime),
    ("", "deadline_s", "deadline", float),
)
