"""The command line: find the command, run it, turn its error into a message and an exit status."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn

import veilbox
from veilbox.cli import (
    anonymize,
    attack,
    audit,
    decrypt,
    detect,
    doctor,
    evaluate,
    exposure,
    image,
    isolation,
    model,
    purge,
    quarantine,
    scan,
)
from veilbox.core.errors import Failure, Interrupted, PartialFailure, VeilboxError, VerificationError

_COMMANDS = (
    anonymize,
    detect,
    evaluate,
    doctor,
    image,
    model,
    audit,
    exposure,
    attack,
    decrypt,
    quarantine,
    purge,
    scan,
    isolation,
)

_EPILOG = """\
example:
  veilbox anonymize street.mp4 -o street-anonymised.mp4

exit status:
  0 done, 2 wrong request, 3 source at fault, 4 output cannot be written, 5 machine lacks something,
  6 image missing or stale, 7 isolation below the minimum, 8 a component failed, 9 some sources of several failed,
  10 audit log not as signed, 11 output refused by verify, 12 output in quarantine, 130 interrupted
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: Arguments without the program's name; None takes the process's.

    Returns:
        The exit status, from the error tree.
    """
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, _interrupt)
    as_json = False
    try:
        arguments = _parser().parse_args(argv)  # in here, for a signal may come already
        as_json = getattr(arguments, "json", False)
        return int(arguments.run(arguments))
    except VeilboxError as error:
        # These follow a report that lists every failed source: one run prints one JSON document.
        _tell(error, as_json=as_json and not isinstance(error, PartialFailure | VerificationError))
        return error.exit_code
    except BrokenPipeError:
        # Whoever read our output left; there is nobody to tell.
        sys.stderr.close()
        return VeilboxError.exit_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="veilbox",
        description=veilbox.__doc__,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"veilbox {veilbox.__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for command in _COMMANDS:
        command.register(commands)
    return parser


def _interrupt(signum: int, frame: FrameType | None) -> NoReturn:
    """End the job in order; a second signal must not interrupt the clearing away."""
    del frame
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)
    raise Interrupted(f"interrupted by {signal.Signals(signum).name}", advice="Nothing unfinished was released")


def _tell(error: VeilboxError, *, as_json: bool) -> None:
    if as_json:
        failure = Failure.of(error)
        document = {
            "error": {
                "kind": failure.kind,
                "message": str(error),
                "where": error.where,
                "expected": failure.expected,
                "actual": failure.actual,
                "advice": failure.advice,
                "fault": error.fault,
                "retryable": error.retryable,
                "exit_code": error.exit_code,
            }
        }
        sys.stdout.write(json.dumps(document) + "\n")
    sys.stderr.write(f"veilbox: {error}\n")
