"""Records which system calls each component's kind of work makes, as material for `veilbox.seal.allowlist`.

    python benchmarks/record_syscalls.py [COMPONENT...]

Each snippet below does what a component does, on the libraries that it uses, under `strace -f`. Printed is, per
component, the union of the calls, with those marked that the allow-list does not have yet, and those of the list
that were not seen. A trace of one machine is a first version: C libraries choose calls by kernel and processor, so
the lists also hold what their reasons name.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

from veilbox.core.errors import UsageError
from veilbox.seal.allowlist import syscalls

_CALL = re.compile(r"^\d+ +(?:<\.\.\. )?([a-z_0-9]+)(?:\(| resumed)")

_BASE = """
import array, json, mmap, os, select, signal, socket, struct, sys, time
import veilbox.seal.probe  # the import only: its attempts are meant to be refused
ours, theirs = (socket.socket(fileno=int(number)) for number in sys.argv[1:])
for end in (ours, theirs):
    end.setblocking(False)
    end.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
source = os.open(sys.executable, os.O_RDONLY | os.O_CLOEXEC)
ours.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [source]))])
poll = select.poll()
poll.register(theirs, select.POLLIN)
poll.poll(250)
theirs.recvmsg(10, socket.CMSG_SPACE(64), socket.MSG_CMSG_CLOEXEC)
os.fstat(source), os.lseek(source, 0, 0), os.read(source, 9), os.pread(source, 9, 0)
try:
    theirs.recv(1)
except BlockingIOError:
    pass
ours.send(b"x"), theirs.recv(4)
time.monotonic_ns(), time.time(), os.urandom(8), os.getpid(), os.sched_getaffinity(0)
page = mmap.mmap(source, 4096, prot=mmap.PROT_READ)
page.close()
print("log", file=sys.stderr)
"""

_RING = """
path = os.path.join(work, "ring")
writer = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
os.ftruncate(writer, 1 << 20)
os.posix_fallocate(writer, 0, 1 << 20)
os.fchmod(writer, 0o644)
mmap.mmap(writer, 1 << 20).close()
os.close(writer)
reader = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
mmap.mmap(reader, 1 << 20, prot=mmap.PROT_READ).close()
os.unlink(path)
"""

_NUMPY = """
import numpy as np
a = np.random.default_rng(0).random((600, 600))
(a @ a).sum()
big = np.zeros((1080, 1920, 3), np.uint8)
for _ in range(20):
    big = np.concatenate([big, big])[:1080].copy()
"""

_ENCODE = """
import av
from fractions import Fraction
def film(name, codec, options):
    with av.open(open(name, "wb"), "w", format="mp4" if name.endswith("mp4") else "matroska") as out:
        stream = out.add_stream(codec, rate=Fraction(30000, 1001), options=options)
        stream.width, stream.height, stream.pix_fmt = 640, 360, "yuv420p"
        stream.thread_count = 2
        for i in range(60):
            frame = av.VideoFrame(640, 360, "yuv420p")
            frame.pts = i
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
"""

_PICTURE = """
from PIL import Image
Image.new("RGB", (64, 48)).save(os.path.join(work, "a.jpg"))
"""

_PICTURES = """
from PIL import Image
import io
picture = Image.fromarray((a[:300, :400] * 255).astype("uint8")).convert("RGB")
for kind in ("JPEG", "PNG", "WEBP", "TIFF", "BMP"):
    with open(os.path.join(work, "picture"), "w+b") as file:
        picture.save(file, kind)
        file.seek(0)
        Image.open(file).load()
"""

_DECODE = """
for name in ("a.mp4", "b.mkv", "c.mkv"):
    with av.open(open(os.path.join(made, name), "rb")) as source:
        source.streams.video[0].thread_type = "AUTO"
        for frame in source.decode(video=0):
            frame.reformat(width=320, height=180, format="rgb24").to_ndarray()
"""

_FILMS = """
for name, codec, options in (
    ("a.mp4", "libx264", {"preset": "veryfast"}),
    ("b.mkv", "libx265", {"x265-params": "log-level=none"}),
    ("c.mkv", "libvpx-vp9", {"deadline": "realtime"}),
):
    film(os.path.join(work, name), codec, options)
output = os.open(work, os.O_RDWR | os.O_TMPFILE, 0o600)
with os.fdopen(output, "w+b") as file:
    file.write(b"x"), file.flush(), os.fsync(file.fileno()), file.seek(0), file.truncate(0)
"""

_MODEL = """
import onnx
from onnx import helper, TensorProto
weights = helper.make_tensor("w", TensorProto.FLOAT, [64, 3, 3, 3], [0.1] * (64 * 27))
graph = helper.make_graph([helper.make_node("Conv", ["x", "w"], ["y"])], "g",
    [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 256, 256])],
    [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)], [weights])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
onnx.save(model, os.path.join(made, "m.onnx"))
"""

_DETECT = """
import onnxruntime as ort
options = ort.SessionOptions()
options.intra_op_num_threads = 2
session = ort.InferenceSession(os.path.join(made, "m.onnx"), options, providers=["CPUExecutionProvider"])
for _ in range(20):
    session.run(None, {"x": np.zeros((1, 3, 256, 256), np.float32)})
del session
"""

_CLAIM = """
import threading
from pathlib import Path
from veilbox.c2pa.library import validation_state, write_manifest
from veilbox.c2pa.manifest import definition
from veilbox.c2pa.signing import put_signature, to_be_signed
from veilbox.core.claim import Claim
from veilbox.vault.signing_credential import SigningCredential
credential = SigningCredential.of(Path(work))
claim = Claim(veilbox="0", hidden=("face",), style="solid", policy="", job="", log="", entry=0, leaf="")
def sign(suffix, kind):
    output = os.open(work, os.O_RDWR | os.O_TMPFILE, 0o600)
    with open(os.path.join(made, f"a.{suffix}"), "rb") as source:
        store = write_manifest(source.fileno(), output, media_type=kind, definition=definition(claim, kind),
            algorithm="es256", chain=credential.chain, signature_bytes=credential.signature_bytes)
    put_signature(output, store, credential.sign(to_be_signed(store)))
    print(validation_state(output, kind))
for suffix, kind in (("jpg", "image/jpeg"), ("mp4", "video/mp4")):
    thread = threading.Thread(target=sign, args=(suffix, kind))
    thread.start(), thread.join()
"""

_AUDIT = """
import hashlib, json
log = os.open(os.path.join(work, "log"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_APPEND, 0o600)
import fcntl
fcntl.flock(log, fcntl.LOCK_EX)
os.write(log, json.dumps({"a": 1}).encode()), os.fdatasync(log), os.fsync(log), os.pread(log, 9, 0)
hashlib.sha256(b"x").hexdigest()
"""

_WORK = {
    "ingest": _BASE + _RING + _NUMPY + "import av\n" + _DECODE + _PICTURES,
    "detect": _BASE + _NUMPY + _DETECT,
    "anonymize": _BASE + _RING + _NUMPY,
    "export": _BASE + _NUMPY + _PICTURES + _ENCODE + _FILMS,
    "verify": _BASE + _RING + _NUMPY + "import av\n" + _DECODE + _PICTURES,
    "second": _BASE + _NUMPY + _DETECT,
    "claim": _BASE + _CLAIM,
    "audit": _BASE + _AUDIT,
}


def _run(script: Path, trace: Path | None = None) -> None:
    tracing = [] if trace is None else ["strace", "-f", "-qq", "-o", str(trace)]
    environment = os.environ | {"ORT_DISABLE_TELEMETRY": "1", "OMP_NUM_THREADS": "2"}
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    numbers = [end.fileno() for end in ends]
    command = [*tracing, sys.executable, str(script), *map(str, numbers)]
    subprocess.run(command, check=True, env=environment, timeout=300, pass_fds=numbers)
    for end in ends:
        end.close()


def _recorded(folder: Path, component: str, source: str) -> set[str]:
    script, trace = folder / f"{component}.py", folder / f"{component}.trace"
    (folder / component).mkdir(exist_ok=True)
    header = f"import os\nwork, made = {str(folder / component)!r}, {str(folder)!r}\n"
    script.write_text(header + textwrap.dedent(source), encoding="utf-8")
    _run(script, trace)
    text = trace.read_text(encoding="utf-8", errors="replace")
    return {match[1] for line in text.splitlines() if (match := _CALL.match(line))}


def main(components: list[str]) -> int:
    """Record the named components, or all."""
    if shutil.which("strace") is None:
        print("strace is missing; install the package strace", file=sys.stderr)
        return 5
    with tempfile.TemporaryDirectory(prefix="veilbox-record-") as name:
        folder = Path(name)
        prepare = folder / "prepare.py"
        prepare.write_text(
            f"import os\nwork = made = {name!r}\n" + _ENCODE + _FILMS + _PICTURE + _MODEL, encoding="utf-8"
        )
        _run(prepare)
        for component in components or list(_WORK):
            seen = _recorded(folder, component, _WORK[component])
            _report(component, seen)
    return 0


def _report(component: str, seen: set[str]) -> None:
    try:
        listed = set(syscalls(component))
    except UsageError:
        listed = set()
    print(f"{component}: {len(seen)} seen, {len(listed)} listed")
    print("  seen:", " ".join(sorted(seen)))
    print("  seen but not listed:", " ".join(sorted(seen - listed)))
    print("  listed but not seen:", " ".join(sorted(listed - seen)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
