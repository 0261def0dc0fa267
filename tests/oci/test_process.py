from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import pytest

from veilbox.core.errors import MachineError
from veilbox.oci.process import run, spawn


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_status_and_words_come_back() -> None:
    finished = run(python("import sys; print(input()); sys.exit(3)"), timeout_s=30, check=False, stdin=b"hello")
    assert (finished.status, finished.stdout, finished.stderr) == (3, b"hello\n", b"")


def test_a_failure_names_the_program_its_words_and_the_advice() -> None:
    with pytest.raises(MachineError) as caught:
        run(python("import sys; sys.exit('no \\x1b[31mroom')"), timeout_s=30, advice="Make room")
    message = str(caught.value)
    assert sys.executable in message
    assert "1: no " in message
    assert "\x1b" not in message
    assert message.endswith("Make room.")


def test_arguments_are_never_a_shell_s() -> None:
    word = "$(echo x); `id` > /dev/null\n*"
    assert run([*python("import sys; sys.stdout.write(sys.argv[1])"), word], timeout_s=30).stdout == word.encode()


def test_a_program_that_hangs_is_killed_with_its_children(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    # The grandchild holds the pipe's end that nobody else has: its death is the end of file that we then read.
    code = (
        f"import subprocess, time; subprocess.Popen(['sleep', '60'], stdout=open({str(fifo)!r}, 'w')); time.sleep(60)"
    )
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    try:
        with pytest.raises(MachineError, match="in time"):
            run(python(code), timeout_s=1.0)
        os.set_blocking(reader, True)
        assert os.read(reader, 1) == b""
    finally:
        os.close(reader)


@pytest.mark.parametrize("name", ["/nowhere/program", "veilbox-has-no-such-program"])
def test_a_missing_program_comes_with_advice(name: str) -> None:
    with pytest.raises(MachineError, match="Install it"):
        run([name], timeout_s=30, advice="Install it")


def test_only_what_a_program_needs_is_inherited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "1")
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    code = "import os; print(sorted(os.environ))"
    names = run(python(code), timeout_s=30, env={"OWN": "2"}).stdout.decode()
    assert "'OWN'" in names
    assert "'PATH'" in names
    assert "SECRET" not in names
    said = run(python("import os; print(os.environ['LC_ALL'])"), timeout_s=30).stdout
    assert said == b"C.UTF-8\n"


def test_output_goes_to_a_file_when_one_is_given() -> None:
    with tempfile.TemporaryFile() as file:
        assert run(python("print('x')"), timeout_s=30, stdout=file).stdout == b""
        file.seek(0)
        assert file.read() == b"x\n"


def test_descriptors_are_passed_by_number_and_others_are_not() -> None:
    reader, writer = os.pipe()
    try:
        code = f"import os; os.write({writer}, b'1')\ntry: os.fstat({reader})\nexcept OSError: print('closed')"
        assert run(python(code), timeout_s=30, pass_fds=[writer]).stdout == b"closed\n"
        assert os.read(reader, 1) == b"1"
    finally:
        os.close(reader)
        os.close(writer)


def test_a_spawned_program_has_a_session_of_its_own() -> None:
    with spawn(python("import os; os._exit(os.getsid(0) == os.getpid())")) as child:
        assert child.wait() == 1
