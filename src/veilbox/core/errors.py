"""The one error tree of veilbox.

    VeilboxError
    ├── UsageError            the request itself is wrong                        exit 2
    ├── InputError            a source is at fault                               exit 3
    │   ├── SourceMissing         it is not there or may not be read
    │   ├── SourceUnsupported     it is no picture or film that veilbox handles
    │   └── SourceCorrupt         it starts well and cannot be decoded to its end
    ├── OutputError           the result cannot be written                       exit 4
    ├── MachineError          this machine lacks what the job needs              exit 5
    ├── ImageError            a component image is missing, stale or not as pinned exit 6
    │   └── RegistryError         a registry refused, or answered what the specification does not allow
    │       ├── RegistryDenied        it wants other credentials, or more rights
    │       └── RegistryUnavailable   it cannot be reached, is overloaded or asks to wait
    ├── IsolationError        the measured isolation is below the minimum        exit 7
    ├── ComponentError        a component broke its promise                      exit 8
    │   ├── ComponentDied         its process ended before its work
    │   ├── ComponentHung         it gave no sign of life before its deadline
    │   └── ProtocolError         it sent what the protocol does not allow
    ├── PartialFailure        some inputs of several failed                      exit 9
    ├── LogError              the audit log, or a proof from it, is not as signed exit 10
    ├── VerificationError     verify found what the policy does not let out      exit 11
    │   ├── OutputRefused         the output was thrown away
    │   └── OutputQuarantined     the output is kept, encrypted, and not released exit 12
    └── Interrupted           a signal ended the job                             exit 130

Exit codes and HTTP statuses are class attributes here and nowhere else.
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar

from veilbox.core.frozen import frozen

# A message crosses from a sealed component to the supervisor's terminal; a hostile one must not flood it.
_MAX_FIELD_CHARS = 500


class Fault(StrEnum):
    """Whose fault an error is."""

    USER = "user"
    INPUT = "input"
    MACHINE = "machine"
    COMPONENT = "component"


def printable(text: str) -> str:
    """Return `text` on one line, safe to print: control characters and undecodable bytes are escaped.

    Args:
        text: Any string, file names decoded with surrogateescape included.

    Returns:
        At most 500 characters; longer text ends in an ellipsis.
    """
    kept = text[: _MAX_FIELD_CHARS + 1]
    shown = "".join(ch if ch.isprintable() else _escaped(ch) for ch in kept)
    return shown if len(shown) <= _MAX_FIELD_CHARS else shown[: _MAX_FIELD_CHARS - 1] + "…"


def _escaped(ch: str) -> str:
    code = ord(ch)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that surrogateescape smuggled in
        return f"\\x{code - 0xDC00:02x}"
    return ch.encode("unicode_escape").decode("ascii")


class VeilboxError(Exception):
    """Any failure that veilbox foresees.

    Args:
        what: What went wrong, as a clause without a full stop.
        where: The file, component, field or option it concerns.
        expected: What would have been right.
        actual: What was found.
        advice: What to do next.
    """

    exit_code: ClassVar[int] = 1
    http_status: ClassVar[int] = 500
    fault: ClassVar[Fault] = Fault.COMPONENT
    retryable: ClassVar[bool] = False

    def __init__(self, what: str, *, where: str = "", expected: str = "", actual: str = "", advice: str = "") -> None:
        self.what = printable(what)
        self.where = printable(where)
        self.expected = printable(expected)
        self.actual = printable(actual)
        self.advice = printable(advice)
        super().__init__(self._message())

    def _message(self) -> str:
        message = f"{self.where}: {self.what}" if self.where else self.what
        pair = [f"{name} {text}" for name, text in (("expected", self.expected), ("got", self.actual)) if text]
        if pair:
            message += f" ({', '.join(pair)})"
        return f"{message}. {self.advice}." if self.advice else f"{message}."

    def located(self, where: str, *, advice: str = "") -> VeilboxError:
        """The same error with another place: the supervisor knows file names, a component does not.

        Args:
            where: The place.
            advice: What to do next, where the error does not say.
        """
        said = self.advice or advice
        return type(self)(self.what, where=where, expected=self.expected, actual=self.actual, advice=said)


class UsageError(VeilboxError):
    """The request itself is wrong; nothing was touched."""

    exit_code = 2
    http_status = 400
    fault = Fault.USER


class InputError(VeilboxError):
    """A source is at fault."""

    exit_code = 3
    http_status = 422
    fault = Fault.INPUT


class SourceMissing(InputError):
    """A source is not there or may not be read."""

    http_status = 404


class SourceUnsupported(InputError):
    """A source is no picture or film that veilbox handles."""

    http_status = 415


class SourceCorrupt(InputError):
    """A source starts well and cannot be decoded to its end."""


class OutputError(VeilboxError):
    """The result cannot be written."""

    exit_code = 4
    http_status = 507
    fault = Fault.MACHINE


class MachineError(VeilboxError):
    """This machine lacks what the job needs."""

    exit_code = 5
    http_status = 501
    fault = Fault.MACHINE


class ImageError(VeilboxError):
    """A component image is missing, stale or not what its digest says."""

    exit_code = 6
    http_status = 503
    fault = Fault.MACHINE


class RegistryError(ImageError):
    """A registry refused a request, or answered what the distribution specification does not allow."""

    http_status = 502


class RegistryDenied(RegistryError):
    """A registry wants other credentials, or grants these too little."""

    http_status = 401
    fault = Fault.USER


class RegistryUnavailable(RegistryError):
    """A registry cannot be reached, broke off, is overloaded or asks to wait longer than we do."""

    http_status = 503
    retryable = True


class IsolationError(VeilboxError):
    """The isolation measured from inside is below the required minimum."""

    exit_code = 7
    http_status = 412
    fault = Fault.MACHINE


class ComponentError(VeilboxError):
    """A component broke its promise; the job ends and nothing is released."""

    exit_code = 8
    retryable = True


class ComponentDied(ComponentError):
    """A component's process ended before its work did."""


class ComponentHung(ComponentError):
    """A component gave no sign of life before its deadline."""

    http_status = 504


class ProtocolError(ComponentError):
    """A component sent what the protocol does not allow."""

    retryable = False


class PartialFailure(VeilboxError):
    """Some inputs of several failed; the others were released."""

    exit_code = 9
    http_status = 207
    fault = Fault.INPUT


class LogError(VeilboxError):
    """The audit log, or a proof that was taken from it, is not what its key signed."""

    exit_code = 10
    http_status = 409
    fault = Fault.MACHINE


class VerificationError(VeilboxError):
    """Looking at an output again found what the policy does not let out; the output has no name."""

    exit_code = 11
    http_status = 422
    fault = Fault.COMPONENT


class OutputRefused(VerificationError):
    """The output was thrown away."""


class OutputQuarantined(VerificationError):
    """The output is kept, encrypted, and not released."""

    exit_code = 12
    http_status = 409


class Interrupted(VeilboxError):
    """A signal ended the job; nothing unfinished was released."""

    exit_code = 130
    http_status = 503
    fault = Fault.USER
    retryable = True


@frozen
class Failure:
    """An error as a value, the form in which it leaves a sealed component.

    `kind` is a class name of this tree; a name that is not in it reads as `ComponentError`, so a hostile
    component cannot choose an exit status outside the tree.
    """

    kind: str
    what: str
    expected: str = ""
    actual: str = ""
    advice: str = ""

    @classmethod
    def of(cls, error: VeilboxError) -> Failure:
        """The value of an error of this tree."""
        return cls(
            kind=type(error).__name__,
            what=error.what,
            expected=error.expected,
            actual=error.actual,
            advice=error.advice,
        )

    def error(self, where: str) -> VeilboxError:
        """The error that this value stands for, at the place the supervisor knows."""
        kind = _KINDS.get(self.kind, ComponentError)
        return kind(self.what, where=where, expected=self.expected, actual=self.actual, advice=self.advice)


def _tree(root: type[VeilboxError]) -> dict[str, type[VeilboxError]]:
    kinds = {root.__name__: root}
    for child in root.__subclasses__():
        kinds |= _tree(child)
    return kinds


_KINDS = _tree(VeilboxError)
