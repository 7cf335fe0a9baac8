"""A project in no language that we know: judged test by test, and line by line, by its reports."""

from dataclasses import replace

import pytest

from orchestrator.values import Feature, Project, Reports
from tests.harness.verify.conftest import Edits, Field

pytestmark = pytest.mark.isolation

#: A "language": tests are scripts, and the runner writes JUnit and LCOV as real ones do.
RUNNER = r"""
mkdir -p out; n=0; : > out/lcov.info
{ echo '<testsuite>'
for t in spec/*.test.sh; do
  if sh "$t" > out/said 2>&1; then echo "<testcase name=\"$t\"/>"
  else n=1; echo "<testcase name=\"$t\"><failure message=\"$(tail -n 1 out/said)\"/></testcase>"; fi
done; echo '</testsuite>'; } > out/junit.xml
for f in lib/*.sh; do
  echo "SF:$PWD/$f"; i=0
  while read -r line; do
    i=$((i+1)); grep -qs "$line" spec/*.test.sh && echo "DA:$i,1" || echo "DA:$i,0"
  done < "$f"; echo end_of_record
done > out/lcov.info
exit $n
"""
FILES = {
    "run.sh": RUNNER,
    "lib/a.sh": "one\n",
    "spec/one.test.sh": "# one\ngrep -q one lib/a.sh || { echo no one; false; }\n",
    "spec/red.test.sh": "echo red before; false\n",
    "exam/two.test.sh": "grep -q two lib/b.sh\n",
}
GOOD = "two\nthree\n"


@pytest.fixture
def other(field: Field) -> Field:
    field.start(FILES)
    field.project = Project(
        test="sh run.sh", reports=Reports(junit=("out/*.xml",), coverage=("**/lcov.info",))
    )
    field.feature = Feature(id="two", description="Two.", acceptance=("sh exam/two.test.sh",))
    return field


async def test_what_passed_must_pass_though_the_project_is_red(other: Field) -> None:
    broken = await other.judge({"lib/b.sh": GOOD, "lib/a.sh": "zero\n"})
    assert not broken.usable
    assert broken.regressions == ("spec/one.test.sh",)
    fine = await other.judge({"lib/b.sh": GOOD, "spec/two.test.sh": "# two\n"})
    assert fine.passed
    assert fine.coverage == 0.5  # its own test speaks of one of two lines


async def test_coverage_can_be_required(other: Field) -> None:
    other.project = replace(other.project, min_coverage=0.6)
    found = await other.judge({"lib/b.sh": GOOD, "spec/two.test.sh": "# two\n"})
    assert not found.usable
    assert "run 50% of the lines it adds, 60% are required" in found.problems[0]


async def test_an_exam_is_judged_by_its_cases_and_not_by_what_the_patch_left_there(
    other: Field,
) -> None:
    other.feature = replace(other.feature, acceptance=("sh run.sh || true",))
    planted = '<testsuite><testcase name="planted"/></testsuite>'
    edits: Edits = {"lib/b.sh": GOOD, "out/planted.xml": planted}
    found = await other.judge(edits)
    assert not found.passed
    assert found.acceptance[0].detail == "spec/red.test.sh: red before"
    other.feature = replace(other.feature, acceptance=("sh exam/two.test.sh",))
    assert (await other.judge(edits)).acceptance[0].detail == "judged by its exit status alone"
