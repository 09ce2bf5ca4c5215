"""What every command line shares: one way to end, words for every option, and numbers that make sense."""

from __future__ import annotations

import ast
import errno
import sys
from pathlib import Path

import pytest

from pipelines import command, make_example, sample_size
from pipelines.command import run_command
from serving import cli

COMMANDS = sorted(Path(command.__file__).parent.glob("*.py"))


def test_every_command_ends_in_the_same_way() -> None:
    """So that none fails at a terminal that lacks a character, or answers a mistake in words of its own."""
    texts = {path.name: path.read_text(encoding="utf-8") for path in COMMANDS}
    commands_ = {name: text for name, text in texts.items() if 'if __name__ == "__main__"' in text}
    assert len(commands_) > 20
    assert [name for name, text in commands_.items() if not text.endswith("    run_command(main)\n")] == []


def test_every_argument_says_what_it_is() -> None:
    found = [(f"{path.name}: {ast.unparse(node)}", {word.arg for word in node.keywords}) for path in (*COMMANDS, Path(cli.__file__))
             for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
             if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(".add_argument")]
    assert len(found) > 150
    assert [call for call, words in found if "help" not in words] == []


def test_an_interrupt_and_a_bug_are_told_apart() -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(SystemExit, match="run the same command again to go on"):
        run_command(stop)

    def break_down() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_command(break_down)


def test_a_full_disk_is_no_bug(tmp_path: Path) -> None:
    def fill() -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "artifacts/x.csv")

    with pytest.raises(SystemExit, match=r"the disk is full \(artifacts/x.csv\); put that right"):
        run_command(fill)
    with pytest.raises(FileNotFoundError):
        run_command((tmp_path / "nothing").read_text)


@pytest.mark.parametrize(("module", "words", "message"), [
    (sample_size, ("m", "--draws", "0"), "argument --draws: expected a whole number of 1 or more, got '0'"),
    (sample_size, ("m", "--sizes", "1"), "argument --sizes: expected a whole number of 2 or more, got '1'"),
    (make_example, ("--planes", "-1"), "argument --planes: expected a whole number of 1 or more, got '-1'"),
    (make_example, ("--size", "x"), "argument --size: expected a whole number of 1 or more, got 'x'"),
    (make_example, ("--size=+-3",), "argument --size: expected a whole number of 1 or more, got '+-3'"),
    (make_example, ("--seed", "-1"), "argument --seed: expected a whole number of 0 or more, got '-1'"),
    (make_example, ("--plate-format", "5"), "argument --plate-format: invalid choice: 5")])
def test_a_number_that_makes_no_sense_is_refused_with_the_usage(
        module: object, words: tuple[str, ...], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["command", *words])
    with pytest.raises(SystemExit):
        module.main()
    assert message in capsys.readouterr().err
