"""The door to the C2PA library (c2pa-rs, by its C interface): nothing else loads it.

The package's own Python module hands Python functions down as callbacks. For those libffi writes code into memory,
which no wall of a component lets run. The library is content with any function of C: reading, writing and seeking are
the C library's own, on file descriptors, and what is asked for a signature answers with room for one, which `signing`
fills later.
"""

from __future__ import annotations

import ctypes
import importlib.util
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from ctypes import c_char_p, c_int, c_int64, c_void_p
from functools import cache
from pathlib import Path
from typing import Final

from veilbox.core.errors import ComponentError, OutputError, UsageError

# No picture of the output in it; nothing is asked of a network, which is not there either. A signature that is still
# to come cannot be looked at.
_SETTINGS: Final = {
    "builder": {"thumbnail": {"enabled": False}},
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False, "verify_after_sign": False},
}
# enum C2paSigningAlg of c2pa.h.
_ALGORITHMS: Final = ("es256", "es384", "es512", "ps256", "ps384", "ps512", "ed25519")
# Functions of c2pa.h: what they return and take.
_FUNCTIONS: Final[Mapping[str, tuple[object, ...]]] = {
    "c2pa_error": (c_void_p,),
    "c2pa_free": (c_int, c_void_p),
    "c2pa_create_stream": (c_void_p, c_void_p, c_void_p, c_void_p, c_void_p, c_void_p),
    "c2pa_release_stream": (None, c_void_p),
    "c2pa_settings_new": (c_void_p,),
    "c2pa_settings_update_from_string": (c_int, c_void_p, c_char_p, c_char_p),
    "c2pa_context_builder_new": (c_void_p,),
    "c2pa_context_builder_set_settings": (c_int, c_void_p, c_void_p),
    "c2pa_context_builder_build": (c_void_p, c_void_p),
    "c2pa_signer_create": (c_void_p, c_void_p, c_void_p, c_int, c_char_p, c_char_p),
    "c2pa_builder_from_context": (c_void_p, c_void_p),
    "c2pa_builder_with_definition": (c_void_p, c_void_p, c_char_p),
    "c2pa_builder_sign": (c_int64, c_void_p, c_char_p, c_void_p, c_void_p, c_void_p, ctypes.POINTER(c_void_p)),
    "c2pa_reader_from_context": (c_void_p, c_void_p),
    "c2pa_reader_with_stream": (c_void_p, c_void_p, c_char_p, c_void_p),
    "c2pa_reader_json": (c_void_p, c_void_p),
}


def write_manifest(
    source: int,
    target: int,
    *,
    media_type: str,
    definition: object,
    algorithm: str,
    chain: str,
    signature_bytes: int,
) -> bytes:
    """Copy a file and put a manifest into the copy, with zeros for its signature.

    Args:
        source: Descriptor, readable.
        target: Descriptor of an empty file, readable and writable.
        media_type: Of both.
        definition: What the manifest says, in the library's words.
        algorithm: Of the signature, in C2PA's words.
        chain: Certificates, PEM, the signer's first.
        signature_bytes: The signature's length.

    Returns:
        The manifest store as it stands in the copy.

    Raises:
        OutputError: The target cannot be written.
        UsageError: The certificates are not such as C2PA wants them.
    """
    # strlen(context) is the length of what it "signed": the rest of its arguments it does not look at.
    room = ctypes.create_string_buffer(b"-" * signature_bytes)
    signer = _made(
        "c2pa_signer_create",
        ctypes.addressof(room),
        _of_c("strlen"),
        _ALGORITHMS.index(algorithm),
        chain.encode(),
        None,
    )
    builder = _made(
        "c2pa_builder_with_definition",
        _made("c2pa_builder_from_context", _context()),
        json.dumps(definition).encode(),
    )
    store = c_void_p()
    with _stream(source) as read, _stream(target) as written:
        kind = media_type.encode()
        length = _call("c2pa_builder_sign")(builder, kind, read, written, signer, ctypes.byref(store))
    if length <= 0 or not store.value:
        fault = _fault()
        _try_writing(target)
        raise fault
    return ctypes.string_at(store.value, length)


def validation_state(file: int, media_type: str) -> str:
    """What the library's reader says of a file's manifest: `Invalid`, `Valid` or `Trusted`.

    Args:
        file: Descriptor, readable.
        media_type: Of the file.

    Raises:
        ComponentError: It finds no manifest that it can read.
    """
    with _stream(file) as stream:
        reader = _made("c2pa_reader_from_context", _context())
        reader = _made("c2pa_reader_with_stream", reader, media_type.encode(), stream)
        told = json.loads(ctypes.string_at(_made("c2pa_reader_json", reader)))
    return str(told.get("validation_state"))


@cache
def _library() -> ctypes.CDLL:
    found = importlib.util.find_spec("c2pa")  # which imports nothing
    folders = found.submodule_search_locations if found else None
    if not folders:
        raise ComponentError("the C2PA library is not in this image", where="claim")
    library = ctypes.CDLL(str(Path(next(iter(folders))) / "libs" / "libc2pa_c.so"))
    for name, (result, *arguments) in _FUNCTIONS.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


def _call(name: str) -> Callable[..., int]:
    function: Callable[..., int] = getattr(_library(), name)
    return function


def _made(name: str, *arguments: object) -> int:
    """What a function makes; objects live as long as the process, which makes a few for each output."""
    made = _call(name)(*arguments)
    if not made:
        raise _fault()
    return made


@cache
def _context() -> int:
    settings = _made("c2pa_settings_new")
    builder = _made("c2pa_context_builder_new")
    if _call("c2pa_settings_update_from_string")(settings, json.dumps(_SETTINGS).encode(), b"json"):
        raise _fault()
    if _call("c2pa_context_builder_set_settings")(builder, settings):
        raise _fault()
    return _made("c2pa_context_builder_build", builder)


@contextmanager
def _stream(file: int) -> Iterator[int]:
    """A descriptor as a stream, from its beginning: the first argument of each of these calls is the descriptor."""
    stream = _made("c2pa_create_stream", file, *map(_of_c, ("read", "lseek", "write", "fsync")))
    _of_c_library().lseek(file, 0, 0)
    try:
        yield stream
    finally:
        _call("c2pa_release_stream")(stream)


@cache
def _of_c_library() -> ctypes.CDLL:
    return ctypes.CDLL(None)


def _of_c(name: str) -> c_void_p:
    return ctypes.cast(getattr(_of_c_library(), name), c_void_p)


def _try_writing(target: int) -> None:
    """Tell a full disk from other faults, for the library calls it a bad picture; nothing is kept of this file.

    Raises:
        OutputError: Nothing more can be written.
    """
    content = bytes(64 << 10)
    try:
        os.lseek(target, 0, os.SEEK_END)
        full = os.write(target, content) < len(content)
    except OSError:
        full = True
    if full:
        raise OutputError("cannot write the output", advice="Free some space and run again")


def _fault() -> ComponentError | UsageError:
    """What went wrong last; of the library's words only the kind, for the rest may quote what it read."""
    text = _call("c2pa_error")()
    words = ctypes.string_at(text).decode("utf-8", "replace") if text else ""
    kind = words.partition(":")[0][:60]
    if kind in ("Signature", "CoseInvalidCert", "CoseSignature") or "ertificate" in words:
        return UsageError(
            "the certificates in c2pa/credential.pem are not such as C2PA wants them",
            where="--c2pa",
            actual=kind,
            advice="See docs/how-to/content-credentials.md",
        )
    return ComponentError("the C2PA library cannot do its work", where="claim", actual=kind)
