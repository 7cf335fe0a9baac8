"""`fibreflow sla check`: its exit code says whether a promise is broken, by what was declared."""

from pathlib import Path

import pytest

from harness import runner

FILE = """
slas:
  facts:
    probe: {{ type: file_age, path: facts }}
    error: 60
    no_data: {no_data}
"""


@pytest.mark.parametrize(("no_data", "code"), [("bad", 1), ("excluded", 1), ("good", 0)])
def test_missing_data_counts_as_declared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], no_data: str, code: int
) -> None:
    (tmp_path / "data_layer_slas.yaml").write_text(FILE.format(no_data=no_data))
    assert runner.main(["sla", "check", "--workspace", str(tmp_path)]) == code
    assert capsys.readouterr().out.startswith("no data")
    (tmp_path / "facts").touch()
    assert runner.main(["sla", "check", "--workspace", str(tmp_path)]) == 0
    assert capsys.readouterr().out.startswith("ok")


def test_an_sla_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "data_layer_slas.yaml").write_text(FILE.format(no_data="bad"))
    assert runner.main(["sla", "check", "fact", "--workspace", str(tmp_path)]) == 2
    assert "'fact'" in capsys.readouterr().err
