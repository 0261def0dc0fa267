"""Every command explains itself: what it does, an example, and exit statuses that are those of the error tree."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from veilbox.cli.main import _parser, main
from veilbox.core import errors
from veilbox.core.errors import VeilboxError


def _commands(parser: argparse.ArgumentParser) -> Iterator[tuple[tuple[str, ...], argparse.ArgumentParser]]:
    yield tuple(parser.prog.split()[1:]), parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for child in action.choices.values():
                yield from _commands(child)


COMMANDS = dict(_commands(_parser()))
each_command = pytest.mark.parametrize("words", COMMANDS, ids=lambda words: " ".join(words) or "veilbox")


def _help(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as ended:
        main([*words, "--help"])
    assert ended.value.code == 0
    return capsys.readouterr().out


def _exit_codes(kind: type[VeilboxError]) -> set[int]:
    return {kind.exit_code}.union(*map(_exit_codes, kind.__subclasses__()))


@each_command
def test_help_has_an_example_of_the_command(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    shown = _help(words, capsys)
    _, found, examples = shown.partition("example")
    assert found, shown
    assert re.search(rf"^  {' '.join(('veilbox', *words))}\b", examples, re.MULTILINE), shown


@each_command
def test_the_examples_are_accepted(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    shown = _help(words, capsys)
    for line in re.findall(r"^  veilbox (.+)$", shown.partition("example")[2], re.MULTILINE):
        _parser().parse_args(line.partition(" > ")[0].split())


@each_command
def test_every_option_is_explained(words: tuple[str, ...]) -> None:
    unexplained = [
        action.dest for action in COMMANDS[words]._actions if not action.help and action.metavar != "COMMAND"
    ]
    assert [name for name in unexplained if name != argparse.SUPPRESS] == []


@each_command
def test_help_fits_a_terminal(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    assert max(map(len, _help(words, capsys).splitlines())) <= 120


@each_command
def test_a_wrong_choice_lists_words_that_one_can_type(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    for action in COMMANDS[words]._actions:
        if action.choices is None or not action.option_strings:
            continue
        with pytest.raises(SystemExit):
            main([*words, f"{action.option_strings[0]}=no-such-word"])
        listed = capsys.readouterr().err.rpartition("choose from ")[2].strip().removesuffix(")")
        assert listed.replace("'", "").split(", ") == [str(choice) for choice in action.choices], action.dest


def test_exit_statuses_are_those_of_the_error_tree(capsys: pytest.CaptureFixture[str]) -> None:
    listed = _help((), capsys).partition("exit status:")[2]
    told = {int(number) for number in re.findall(r"(?:^|, )\s*(\d+) [a-z]", listed, re.MULTILINE)}
    # 1 is for what nobody foresaw; it has no meaning to list.
    assert told == {0, *_exit_codes(VeilboxError)} - {1}


def test_the_drawn_tree_is_the_real_one() -> None:
    drawn = re.findall(r"[├└]── (\w+)", errors.__doc__ or "")
    assert sorted(drawn) == sorted(set(errors._KINDS) - {"VeilboxError"})
    for name, status in re.findall(r"[├└]── (\w+).*exit (\d+)$", errors.__doc__ or "", re.MULTILINE):
        assert errors._KINDS[name].exit_code == int(status)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--version"])
    assert re.fullmatch(r"veilbox \d+\.\d+\.\d+\S*\n", capsys.readouterr().out)


@pytest.mark.parametrize(
    "words", [[], ["anonymise"], ["anonymize"], ["anonymize", "a.mp4"], ["anonymize", "a", "--stile"]]
)
def test_wrong_words_exit_2_and_say_how_it_goes(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == errors.UsageError.exit_code
    assert capsys.readouterr().err.startswith("usage: veilbox")


def test_help_waits_for_no_library() -> None:
    """Tables and progress bars, JSON's strict reader and keys are for commands that use them."""
    program = "import sys, veilbox.cli.main; print(*{name.partition('.')[0] for name in sys.modules})"
    run = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert not {"rich", "msgspec", "cryptography", "nacl", "numpy", "email"} & set(run.stdout.split())
