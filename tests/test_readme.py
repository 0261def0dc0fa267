"""What the README shows is true: its commands run or are run by CI, its options exist, its links lead somewhere."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from readme import Block, blocks
from veilbox.cli.main import _parser

CHECKOUT = Path(__file__).parents[1]
README = (CHECKOUT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = [*sorted(CHECKOUT.glob("*.md")), *sorted(CHECKOUT.glob("docs/**/*.md"))]
BLOCKS = blocks(README)
# What a newcomer does before there is a checkout.
BEFOREHAND = ("sudo apt-get install", "git clone", "cd ")


def test_blocks_are_found_with_their_marks() -> None:
    text = "x\n```sh\nmake demo\n```\n<!-- run -->\n```sh\na \\\n  b\n# no\n```\n```python\nc\n```\n"
    assert blocks(text) == (Block(text="make demo\n", runs=False), Block(text="a \\\n  b\n# no\n", runs=True))
    assert blocks(text)[1].commands == ("a b",)


def test_every_command_is_run() -> None:
    ci = (CHECKOUT / ".ci" / "run").read_text(encoding="utf-8")
    for block in BLOCKS:
        for command in block.commands:
            by_ci = re.search(rf"^{re.escape(command.partition('#')[0].strip())}\b", ci, re.MULTILINE)
            assert block.runs or by_ci or command.startswith(BEFOREHAND), command


def test_the_two_commands_stand_there() -> None:
    assert {"make demo", "make test"} <= {
        command.partition("#")[0].strip() for each in BLOCKS for command in each.commands
    }


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(CHECKOUT)))
def test_commands_are_accepted(path: Path) -> None:
    for block in blocks(path.read_text(encoding="utf-8")):
        for command in block.commands:
            words = shlex.split(re.split(r" (?:>|\||&&) ", command)[0], comments=True)
            if words and Path(words[0]).name == "veilbox" and not {"--help", "--version"} & {*words}:
                _parser().parse_args(words[1:])


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(CHECKOUT)))
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)", path.read_text(encoding="utf-8")):
        assert ":" in target or (path.parent / target).exists(), target
