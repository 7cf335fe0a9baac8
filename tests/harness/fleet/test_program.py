"""Two programs are one when all of their code is; anything else is another version."""

from pathlib import Path

from harness import __version__
from harness.fleet import program


def test_any_change_of_the_code_is_another_version_and_what_python_keeps_is_none(
    tmp_path: Path,
) -> None:
    for house in ("harness", "orchestrator"):
        (tmp_path / house / "part" / "__pycache__").mkdir(parents=True)
        (tmp_path / house / "part" / "one.py").write_text("a = 1\n")
    seen = [program.digest(tmp_path)]
    (tmp_path / "harness" / "part" / "__pycache__" / "one.pyc").write_bytes(b"compiled")
    (tmp_path / "README.md").write_text("words")
    assert program.digest(tmp_path) == seen[0]
    (tmp_path / "orchestrator" / "part" / "one.py").write_text("a = 2\n")
    seen.append(program.digest(tmp_path))
    (tmp_path / "orchestrator" / "part" / "one.py").rename(tmp_path / "orchestrator" / "one.py")
    seen.append(program.digest(tmp_path))
    assert len(set(seen)) == 3


def test_this_program_is_its_number_and_its_code() -> None:
    number, _, code = program.version().partition("+")
    assert (number, len(code)) == (__version__, 12)
