"""Attempts that would rather look right than be right. None may pass, and each is told why."""

from dataclasses import replace

import pytest

from tests.harness.verify.conftest import (
    FILES,
    RIGHT,
    WRONG,
    Edits,
    Field,
    diff,
    git,
)

pytestmark = pytest.mark.isolation

PROTECTED = "changes protected files"
UNREPORTED = "the test run does not report what it ran"
SKIP_ALL = (
    "import pytest\n\n\ndef pytest_collection_modifyitems(items):\n"
    "    for item in items:\n        item.add_marker(pytest.mark.skip)\n"
)
FORGED = (
    "import glob, json, os, sys\n"
    "from xml.sax.saxutils import quoteattr\n\n"
    "for place in sys.path:\n"
    "    for plugin in glob.glob(os.path.join(place, 'ff_*.py')):\n"
    "        with open(os.path.join(place, 'report.json'), 'w') as f:\n"
    "            ids = ['tests/test_total.py::test_empty', 'tests/test_total.py::test_sum[1]',\n"
    "                   'tests/test_total.py::test_sum[2]', 'tests/test_total.py::test_sum[3]',\n"
    "                   'tests/test_total.py::TestBad::test_text']\n"
    "            json.dump({'exit': 0, 'collected': [], 'lines': {}, 'tests': [\n"
    "                {'id': i, 'outcome': 'passed', 'why': ''} for i in ids]}, f)\n"
    "os._exit(0)\n"
)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        pytest.param("tests/test_total.py", "def test_empty():\n    pass\n", id="edited exam"),
        pytest.param("tests/test_total.py", None, id="deleted exam"),
        pytest.param("conftest.py", SKIP_ALL, id="conftest that skips"),
        pytest.param("tests/conftest.py", SKIP_ALL, id="nested conftest"),
        pytest.param("pytest.ini", "[pytest]\naddopts = -k nothing\n", id="pytest.ini"),
        pytest.param("setup.cfg", "[tool:pytest]\naddopts = -k nothing\n", id="setup.cfg"),
        pytest.param("sitecustomize.py", "import os\nos._exit(0)\n", id="sitecustomize"),
        pytest.param("evil.pth", "import os; os._exit(0)\n", id="pth"),
        pytest.param("pytest.py", "raise SystemExit(0)\n", id="shadowed pytest"),
        pytest.param(".github/workflows/x.yml", "on: push\n", id="CI"),
    ],
)
async def test_protected_files_disqualify(field: Field, name: str, content: str | None) -> None:
    found = await field.judge({"shop/total.py": RIGHT, name: content})
    assert not found.usable
    assert not found.passed
    assert found.problems == (f"{PROTECTED}: {name}",)
    assert [c.passed for c in found.acceptance] == [False]


@pytest.mark.parametrize(
    "addopts",
    [
        "--deselect tests/test_total.py::TestBad",
        "-k empty",
        "--collect-only",
        "--ignore tests/test_total.py",
        "-p no:python",
    ],
)
async def test_options_in_pyproject_hide_no_test(field: Field, addopts: str) -> None:
    """pyproject.toml may be edited: features add dependencies there."""
    lazy = "def total(prices):\n    return sum(int(p) for p in prices)\n"
    settings = f'[tool.pytest.ini_options]\naddopts = "{addopts}"\n'
    found = await field.judge({"shop/total.py": lazy, "pyproject.toml": settings})
    assert not found.passed
    assert not found.acceptance[0].passed


@pytest.mark.parametrize(
    ("code", "told"),
    [
        pytest.param("import os\nos._exit(0)\n", UNREPORTED, id="exit 0 on import"),
        pytest.param("raise SystemExit(0)\n", "", id="SystemExit on import"),
        pytest.param("import pytest\npytest.skip('x', allow_module_level=True)\n", "", id="skip"),
        pytest.param("import pytest\npytest.exit('done', 0)\n", "", id="pytest.exit"),
        pytest.param(
            "import atexit, os\natexit.register(os._exit, 0)\n" + WRONG, "", id="atexit, wrong"
        ),
        pytest.param(
            "import atexit, os\natexit.register(os._exit, 0)\n" + RIGHT, UNREPORTED, id="atexit"
        ),
        pytest.param(FORGED, UNREPORTED, id="forged report"),
        pytest.param(
            "import _pytest.runner as r\n\n"
            "old = r.CallInfo.from_call.__func__\n"
            "def made(cls, func, when, reraise=None):\n"
            "    return old(cls, (lambda: None) if when == 'call' else func, when, reraise)\n"
            "r.CallInfo.from_call = classmethod(made)\n" + WRONG,
            UNREPORTED,
            id="runner that never fails",
        ),
        pytest.param(
            "import _pytest.reports as r\n\n"
            "old = r.TestReport.__init__\n"
            "def made(self, nodeid, location, keywords, outcome, longrepr, when, *a, **k):\n"
            "    old(self, nodeid, location, keywords, 'passed', None, when, *a, **k)\n"
            "r.TestReport.__init__ = made\n" + WRONG,
            UNREPORTED,
            id="reports that never fail",
        ),
        pytest.param(
            "import pytest\n\n"
            "class Never:\n    def __enter__(self):\n        return self\n"
            "    def __exit__(self, *a):\n        return True\n"
            "pytest.raises = lambda *a, **k: Never()\npytest.fail = print\n" + WRONG,
            "replaced pytest.",
            id="pytest.raises that swallows",
        ),
        pytest.param("import nowhere_to_be_found\n" + RIGHT, "ModuleNotFoundError", id="import"),
        pytest.param("def total(prices:\n", "SyntaxError", id="syntax"),
    ],
)
async def test_code_that_cheats_its_tests(field: Field, code: str, told: str) -> None:
    await field.refuse({"shop/total.py": code}, told)


async def test_standard_modules_shadowed_at_the_root(field: Field) -> None:
    await field.refuse({"shop/total.py": WRONG, "json.py": "import os\nos._exit(0)\n"})


async def test_own_vacuous_tests_prove_nothing(field: Field) -> None:
    await field.refuse(
        {"shop/total.py": WRONG, "tests/test_mine.py": "def test_mine():\n    assert True\n"},
        "tests/test_total.py",
    )


@pytest.mark.long
async def test_deleting_a_test_that_passed_does_not_hide_what_broke(field: Field) -> None:
    edits: Edits = {
        "shop/total.py": RIGHT,
        "shop/price.py": "def net(gross):\n    return 0\n",
        "tests/test_price.py": None,
    }
    found = await field.judge(edits)
    assert not found.usable
    assert found.regressions == ("tests/test_price.py::test_net",)
    assert "breaks tests that passed: tests/test_price.py::test_net" in found.problems


@pytest.mark.long
async def test_weakening_a_test_that_passed_does_not_either(field: Field) -> None:
    found = await field.judge(
        {
            "shop/total.py": RIGHT,
            "shop/price.py": "def net(gross):\n    return 0\n",
            "tests/test_price.py": "def test_net():\n    assert True\n",
        }
    )
    assert not found.usable
    assert "tests/test_price.py::test_net" in found.regressions


@pytest.mark.long
async def test_exit_in_the_projects_tests_only(field: Field) -> None:
    """The acceptance passes; a module that only the project's tests import ends the process."""
    found = await field.judge({"shop/total.py": RIGHT, "shop/price.py": "import os\nos._exit(0)\n"})
    assert not found.usable
    assert UNREPORTED in found.problems[0]


@pytest.mark.long
async def test_an_endless_loop_is_timed_out(field: Field) -> None:
    field.timeout = 3.0
    await field.refuse({"shop/total.py": "while True:\n    pass\n"}, "timed out after 3 s")


async def test_output_without_end_is_bounded(field: Field) -> None:
    noise = (
        "import os\n\nfor _ in range(4000):\n    os.write(2, b'x' * 65536 + b'\\n')\n"
        "os.write(1, b'\\x1b[2J')\n"
    )
    found = await field.judge({"shop/total.py": noise + WRONG})
    assert not found.passed
    assert len(field.log) < 100_000
    assert "\x1b" not in field.log


@pytest.mark.long
async def test_a_background_process_cannot_reach_the_next_command(field: Field) -> None:
    """It would overwrite the code as soon as the first command ended."""
    left_behind = (
        "import subprocess, sys\n"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'],"
        " start_new_session=True, stdin=-3, stdout=-3, stderr=-3)\n"
    )
    found = await field.judge({"shop/total.py": left_behind + RIGHT})
    assert found.passed
    await field.refuse({"shop/total.py": left_behind + WRONG}, "test_total")


async def test_what_one_command_writes_the_next_never_sees(field: Field) -> None:
    field.feature = type(field.feature)(
        id="f",
        description="",
        acceptance=("touch done", "test -e done"),
    )
    found = await field.judge({"shop/total.py": RIGHT})
    assert [c.passed for c in found.acceptance] == [True, False]


class TestPaths:
    """Patches no agent's own git would make."""

    async def refused(self, field: Field, patch: bytes, told: str) -> None:
        found = await field.judge_patch(patch)
        assert not found.usable
        assert any(told in p for p in found.problems), (found.problems, field.log)

    @pytest.mark.parametrize("target", ["/etc/passwd", "../../outside", "../.."])
    async def test_links_that_point_outside(self, field: Field, target: str) -> None:
        await field.base()
        (field.repo / "shop" / "link").symlink_to(target)
        git(field.repo, "add", "-A")
        patch = git(field.repo, "diff", "--cached", "HEAD").encode()
        git(field.repo, "reset", "-q", "--hard")
        await self.refused(field, patch, "symbolic link that points outside")

    async def test_links_that_stay_inside_are_fine(self, field: Field) -> None:
        await field.base()
        (field.repo / "shop" / "cost.py").symlink_to("price.py")
        (field.repo / "shop" / "total.py").write_text(RIGHT)
        git(field.repo, "add", "-A")
        patch = git(field.repo, "diff", "--cached", "HEAD").encode()
        git(field.repo, "reset", "-q", "--hard")
        assert (await field.judge_patch(patch)).passed

    @pytest.mark.parametrize(
        "path", ["../outside.txt", "/tmp/outside.txt", ".git/hooks/post-checkout", ".GIT/config"]
    )
    async def test_paths_outside_the_repository(self, field: Field, path: str) -> None:
        patch = (
            f"diff --git a/{path} b/{path}\nnew file mode 100755\n--- /dev/null\n"
            f"+++ b/{path}\n@@ -0,0 +1 @@\n+#!/bin/sh\n"
        )
        found = await field.judge_patch(patch.encode())
        assert not found.usable

    @pytest.mark.parametrize(
        "path", ["tests/__pycache__/test_total.cpython-311-pytest-9.2.0.pyc", "shop/total.pyc"]
    )
    async def test_compiled_python(self, field: Field, path: str) -> None:
        await field.refuse({"shop/total.py": RIGHT, path: "\0"}, "writes compiled Python")

    async def test_a_package_in_the_place_of_an_exams_support(self, field: Field) -> None:
        """Python takes `tests/helpers/` for `tests/helpers.py`, be it put back or not."""
        exam = "from helpers import same\nfrom shop.total import total\n\n\n"
        exam += "def test_sum():\n    same(total([1]), 1)\n"
        same = "def same(a, b):\n    assert a == b\n"
        field.start({**FILES, "tests/helpers.py": same, "tests/test_total.py": exam})
        fake = {"tests/helpers/__init__.py": "def same(a, b):\n    pass\n"}
        await field.refuse({"shop/total.py": "def total(prices):\n    return 0\n", **fake},
                      "in the place of tests/helpers.py")  # fmt: skip

    async def test_submodules(self, field: Field) -> None:
        patch = (
            b"diff --git a/sub b/sub\nnew file mode 160000\nindex 0000000..1234567\n"
            b"--- /dev/null\n+++ b/sub\n@@ -0,0 +1 @@\n"
            b"+Subproject commit 1234567890123456789012345678901234567890\n"
        )
        await self.refused(field, patch, "submodule")

    async def test_a_rename_does_not_hide_its_source(self, field: Field) -> None:
        patch = (
            b"diff --git a/tests/test_total.py b/tests/old.txt\nsimilarity index 100%\n"
            b"rename from tests/test_total.py\nrename to tests/old.txt\n"
        )
        await self.refused(field, patch, f"{PROTECTED}: tests/test_total.py")

    async def test_what_does_not_apply(self, field: Field) -> None:
        await field.base()
        patch = diff(field.repo, {"shop/price.py": "def net(gross):\n    return 1\n"})
        await self.refused(field, patch.replace(b"119", b"120"), "does not apply")

    async def test_what_is_no_patch(self, field: Field) -> None:
        await self.refused(field, b"rm -rf /\n", "does not apply")

    async def test_secrets(self, field: Field) -> None:
        key = "-----BEGIN " + "RSA PRIVATE KEY-----"
        found = await field.judge({"shop/total.py": RIGHT + f"KEY = '''{key}'''\n"})
        assert not found.usable
        assert found.problems == ("adds what looks like a private key",)


class TestHonest:
    """The same shapes, meant well, still pass."""

    async def test_new_own_tests(self, field: Field) -> None:
        own = "from shop.total import total\n\n\ndef test_one():\n    assert total([1]) == 1\n"
        found = await field.judge({"shop/total.py": RIGHT, "tests/test_mine.py": own})
        assert found.passed, (found, field.log)

    @pytest.mark.long
    async def test_settings_in_pyproject(self, field: Field) -> None:
        settings = '[tool.pytest.ini_options]\naddopts = "-q"\ntestpaths = ["tests"]\n'
        found = await field.judge({"shop/total.py": RIGHT, "pyproject.toml": settings})
        assert found.passed, (found, field.log)
        assert found.problems == ("changes files outside its scope: pyproject.toml",)

    @pytest.mark.long
    async def test_a_test_that_was_red_before_may_stay_red(self, field: Field) -> None:
        field.start({**FILES, "tests/test_later.py": "import shop.later\n\n\ndef test(): pass\n"})
        assert (await field.judge({"shop/total.py": RIGHT})).passed

    @pytest.mark.long
    async def test_a_flaky_test_is_no_regression(self, field: Field) -> None:
        """It fails whenever more than one test runs, as one does that needs a quiet machine."""
        files = {
            **FILES,
            "tests/conftest.py": (
                "import pytest\n\n\n@pytest.fixture\ndef crowd(request):\n"
                "    import os\n"
                "    return len(request.session.items) if os.path.exists('shop/total.py') else 1\n"
            ),
            "tests/test_flaky.py": "def test_alone(crowd):\n    assert crowd == 1\n",
        }
        field.start(files)
        found = await field.judge({"shop/total.py": RIGHT})
        assert found.passed, (found, field.log)

    async def test_one_exec_is_enough_for_a_command_that_is_no_test(self, field: Field) -> None:
        field.start({"README": "nothing\n"})
        field.feature = type(field.feature)(id="f", description="", acceptance=("true",))
        found = await field.judge({})
        assert found.passed
        assert (found.coverage, found.quality) == (None, None)


@pytest.mark.parametrize(
    "command",
    [
        "python -m pytest -q",
        "python -m pytest -q -k total",
        "python -m pytest -q $PWD/tests/test_total.py",
        "T=tests/test_total.py; python -m pytest -q $T",
    ],
)
async def test_an_exam_that_no_command_names_is_put_back(field: Field, command: str) -> None:
    field.feature = replace(field.feature, acceptance=(command,))
    emptied = "import pytest\n\n\ndef test_empty():\n    pass\n"
    found = await field.judge({"shop/total.py": WRONG, "tests/test_total.py": emptied})
    assert not found.passed, field.log


@pytest.mark.long
async def test_what_the_exam_imports_and_reads_is_put_back(field: Field) -> None:
    helper = (
        "import json, pathlib\n"
        "CASES = json.loads(pathlib.Path(__file__).with_name('c.json').read_text())\n"
    )
    exam = (
        "from tests.helper import CASES\nfrom shop.total import total\n\n\n"
        "def test_cases():\n    for prices, sum_ in CASES:\n        assert total(prices) == sum_\n"
    )
    field.start(
        {
            **FILES,
            "tests/__init__.py": "",
            "tests/helper.py": helper,
            "tests/c.json": "[[[1, 2], 3]]",
            "tests/test_exam.py": exam,
        }
    )
    field.feature = replace(field.feature, acceptance=("python -m pytest -q tests/test_exam.py",))
    for bent in ({"tests/helper.py": "CASES = []\n"}, {"tests/c.json": "[]"}):
        found = await field.judge({"shop/total.py": WRONG, **bent})
        assert not found.passed, field.log
    assert (await field.judge({"shop/total.py": RIGHT})).passed
