"""What the log takes, and what it does not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from veilbox.audit.entry import (
    AnyEntry,
    Decision,
    Deleted,
    DeletionDue,
    Failed,
    Finding,
    ImagesAdmitted,
    InputRead,
    IsolationMeasured,
    JobAccepted,
    JobEnded,
    Notice,
    PolicyApplied,
    Released,
    checked_entry,
    decode_entry,
    encode_entry,
)
from veilbox.core.errors import ProtocolError

NOW: dict[str, Any] = {"job": "1234abcd", "time": "2026-11-24T04:16:00.000Z"}
DIGEST = f"sha256:{'0f' * 32}"
NAME = f"hmac-sha256:{'0f' * 32}"
RELEASED = Released(
    **NOW,
    item=0,
    digest=DIGEST,
    bytes=7,
    input=DIGEST,
    frames=2,
    width=64,
    height=48,
    counts={"face": 1},
    covered={"detected": 2},
    name=NAME,
)
ENTRIES: list[AnyEntry] = [
    JobAccepted(**NOW, veilbox="0.1.0", items=1, skipped=0),
    ImagesAdmitted(**NOW, images={"ingest": DIGEST}, models={"detect-centerface": DIGEST}),
    IsolationMeasured(
        **NOW, levels={"ingest": 3}, failed={"ingest": "limits-bite"}, runtime="crun 1.8.1", kernel="6.1"
    ),
    PolicyApplied(**NOW, digest=DIGEST, classes=("face",), threshold=0.2, style="solid", kept=("audio",)),
    InputRead(**NOW, item=0, digest=DIGEST, bytes=5, name=NAME),
    RELEASED,
    Finding(**NOW, item=0, kind="residual-face", count=2, score=0.7, action="quarantine"),
    Decision(**NOW, item=0, decision="release", by="uid 1000", digest=DIGEST),
    Failed(**NOW, item=1, error="SourceCorrupt"),
    Notice(**NOW, code="metadata-kept"),
    Notice(**NOW, code="source-encrypted", item=0),
    Deleted(**NOW, what="source", digest=DIGEST, item=0),
    Deleted(**NOW, what="key", digest=DIGEST, item=0, of="5f0b83b0"),
    DeletionDue(**NOW, what="source", digest=DIGEST, item=0),
    JobEnded(**NOW, outcome="done", released=1, failed=0, report=DIGEST),
]


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: type(entry).__name__)
def test_an_entry_is_one_canonical_line(entry: AnyEntry) -> None:
    line = encode_entry(entry)
    assert decode_entry(line) == entry
    assert b"\n" not in line
    assert json.dumps(json.loads(line), sort_keys=True, separators=(",", ":")).encode() == line


def changed(**fields: Any) -> bytes:
    value = json.loads(encode_entry(RELEASED)) | fields
    return json.dumps({k: v for k, v in value.items() if v is not None}, sort_keys=True, separators=(",", ":")).encode()


# What nobody may put into the log -> a line with it.
REFUSED = {
    "pixels": changed(pixels="AAAA"),
    "boxes": changed(boxes=[[1, 2, 3, 4]]),
    "a plate as a class": changed(counts={"B-XY 1234/secret": 1}),
    "words as a digest": changed(digest="sha256:of a film"),
    "a digest with a newline": changed(digest=DIGEST + "\n"),
    "a name as it is": changed(name="street.mp4"),
    "a negative number": changed(bytes=-1),
    "a number as text": changed(frames="2"),
    "a field missing": changed(input=None),
    "another type": changed(type="secret"),
    "no object": b"[]",
    "no JSON": b"\xff\xfe",
    "nothing": b"",
    "spaces": encode_entry(RELEASED).replace(b":", b": ", 1),
    "twice": encode_entry(RELEASED)[:-1] + b',"width":64}',
    "another order": b'{"width":64,' + encode_entry(RELEASED).replace(b',"width":64', b"")[1:],
}


@pytest.mark.parametrize("line", REFUSED.values(), ids=REFUSED)
def test_what_is_no_entry_is_refused_and_not_quoted(line: bytes) -> None:
    with pytest.raises(ProtocolError) as raised:
        decode_entry(line)
    assert "secret" not in str(raised.value)


def test_a_path_is_taken_only_if_the_policy_lets_it() -> None:
    line = changed(path="/videos/street.mp4")
    with pytest.raises(ProtocolError, match="file name"):
        checked_entry(line, names=False)
    assert isinstance(checked_entry(line, names=True), Released)


def test_an_entry_is_refused_where_it_is_made() -> None:
    with pytest.raises(ProtocolError):
        encode_entry(Notice(**NOW, code="B" * 65))
