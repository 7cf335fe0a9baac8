"""What commands name, and which paths that and the standard list protect."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.values import Feature, FeatureList, Project
from orchestrator.verify.acceptance import STANDARD, is_protected, protected_globs
from orchestrator.verify.exams import setup_files, unread
from orchestrator.verify.naming import files_implied, files_named, folders_of

# A shared machine may be slow; how long an example takes says nothing here.
UNTIMED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize(
    ("command", "named"),
    [
        ("pytest tests/test_a.py::test_x -q", ["tests/test_a.py"]),
        ("pytest tests/test_a.py::T::test[a/b] tests/test_a.py", ["tests/test_a.py"]),
        ("python -m pytest ./tests//a.py test_b.py", ["tests/a.py", "test_b.py"]),
        ("pytest tests/", ["tests"]),
        ("pytest 'tests/test_*.py'", ["tests/test_*.py"]),
        ("pytest -q", []),
        ("pytest --confcutdir=tests/x.ini -k 'a or b'", ["tests/x.ini"]),
        ("TZ=UTC ./check.sh --fast", ["check.sh"]),
        ("cd sub && pytest tests/x.py; sh y/z.sh", ["sub/tests/x.py", "sub/y/z.sh"]),
        ('bash -euc "pytest tests/x.py"', ["tests/x.py"]),
        ("cd a && bash -c 'python b.py'", ["a/b.py"]),
        ("diff <(python a.py) expected.txt > out.txt 2>err.txt", ["a.py", "expected.txt"]),
        ("python a.py\npython b.py", ["a.py", "b.py"]),
        ('python -c "import app.core; assert app.x(1)/2 == 3"', []),
        ("curl https://example.org/x.py", []),
        ("sh /etc/x.sh ../x.sh ~/x.sh a/../../x.sh", []),
        ("npx jest src/app.test.ts && go test ./pkg/...", ["src/app.test.ts", "pkg/..."]),
        ("pytest tests/a.py 'unclosed", ["tests/a.py"]),
        ("", []),
    ],
)
def test_files_named(command: str, named: list[str]) -> None:
    assert list(files_named(command)) == named


def test_a_known_folder_is_named_without_a_slash() -> None:
    folders = folders_of(frozenset({"tests/unit/test_a.py", "x.py"}))
    assert folders == {"tests", "tests/unit"}
    assert files_named("pytest tests", folders) == ("tests",)
    assert files_named("cd tests && pytest unit", folders) == ("tests/unit",)
    assert files_named("npm test", folders) == ()


@UNTIMED
@given(st.text() | st.text(alphabet="ab/.: '\"&;|<>()-=~\n*cd"))
def test_any_command_is_read_and_names_only_paths_below_the_root(command: str) -> None:
    for path in files_named(command):
        assert path
        assert not path.startswith(("/", "../", "~", "-"))
        assert ".." not in path.split("/")


def test_make_reads_its_makefile_unasked() -> None:
    assert {"Makefile", "x/GNUmakefile"} <= set(files_implied("cd x && make check"))
    assert "y/makefile" in files_implied("make -C y")
    assert files_implied("pytest makefile.py") == ()


# ------------------------------------------------------------------------ globs


@pytest.mark.parametrize(
    ("glob", "inside", "outside"),
    [
        ("conftest.py", ["conftest.py", "a/b/conftest.py"], ["conftest.pyi", "Conftest.py"]),
        ("*.pth", ["x.pth", "a/.pth"], ["x.pth.txt"]),
        ("./pytest.py", ["pytest.py"], ["src/pytest.py"]),
        (".github/**", [".github/workflows/x.yml", ".github"], ["a/.github/x", ".githubx"]),
        ("tests/*.py", ["tests/a.py"], ["tests/a/b.py", "x/tests/a.py", "tests/a.pyc"]),
        ("tests/**", ["tests/a", "tests/a/b/c.py"], ["tests2/a", "a/tests/b"]),
        ("**/tests/**", ["tests/a", "x/tests/a", "x/y/tests/z/a"], ["x/test/a"]),
        ("a/**/b.py", ["a/b.py", "a/x/b.py", "a/x/y/b.py"], ["b.py", "a/x/c.py", "x/a/b.py"]),
        ("**/*_test.py", ["a_test.py", "x/a_test.py"], ["a_test.py.bak"]),
        ("**", ["a", "a/b"], []),
        ("data/", ["data/a", "x/data", "data"], ["datax/a"]),
        ("x?[ab].py", ["x1a.py"], ["x1c.py", "xa.py"]),
        ("a/**/m/**/z", ["a/m/z", "a/1/m/2/3/z", "a/m/m/z/z"], ["a/z", "a/m"]),
    ],
)
def test_globs(glob: str, inside: list[str], outside: list[str]) -> None:
    assert [p for p in inside if not is_protected(p, [glob])] == []
    assert [p for p in outside if is_protected(p, [glob])] == []


@pytest.mark.parametrize("path", ["/etc/x", "../x", "a/../../x", "..", ".", ""])
def test_a_path_that_leaves_the_repo_is_protected(path: str) -> None:
    assert is_protected(path, [])


@pytest.mark.parametrize("path", ["./conftest.py", "a//conftest.py", "a/../conftest.py"])
def test_spelling_a_path_differently_does_not_help(path: str) -> None:
    assert is_protected(path, ["conftest.py"])


def test_a_link_in_place_of_a_folder_is_protected() -> None:
    assert is_protected("tests", ["tests/accept/test_a.py"])
    assert is_protected("tests/accept", ["tests/accept/test_a.py"])
    assert not is_protected("tests/other", ["tests/accept/test_a.py"])
    assert not is_protected("src", ["**/accept/x.py"])


@UNTIMED
@given(st.text(alphabet="a/.*?", min_size=1, max_size=30), st.text(alphabet="a/*?[]", max_size=30))
def test_any_path_and_glob_get_an_answer(path: str, glob: str) -> None:
    assert is_protected(path, [glob]) in {True, False}


def test_many_stars_answer_at_once() -> None:
    """A hostile path must not make the matcher try every way to split it."""
    assert not is_protected("/".join(["a"] * 300) + "/b", ["/".join(["**", "a"] * 30) + "/c"])
    assert not is_protected("a" * 3000, ["*a" * 20 + "b"])


# -------------------------------------------------------------- protected globs


def listed(*features: Feature, protected: tuple[str, ...] | None = None) -> FeatureList:
    return FeatureList(features, Project(protected=protected))


A = Feature("a", "x", acceptance=("pytest tests/test_a.py", "python check.py"))
B = Feature("b", "x", acceptance=("cd tests && pytest test_b.py",))


def test_what_a_command_names_and_nobody_has_made_yet_is_the_features_to_make() -> None:
    """Else no attempt at `python app/cli.py --help` could ever pass. An exam by its name stays
    protected, and so does all that is there, and all where nothing says what is."""
    commands = ("python app/cli.py --help", "test -x ./run.sh", "python exam.py", "sh checks/a.sh",
                "diff out.txt expected.txt", "node score.js", "cat 'data/*.csv'",
                "pytest -c my.ini")  # fmt: skip
    feature = Feature("a", "x", acceptance=commands)
    globs = protected_globs(listed(feature), feature, existing_files=frozenset({"score.js"}))
    free = ["app/cli.py", "run.sh", "out.txt"]
    kept = ["exam.py", "checks/a.sh", "expected.txt", "score.js", "data/x.csv", "my.ini"]
    assert [p for p in [*free, *kept] if is_protected(p, globs)] == kept
    unknown = protected_globs(listed(feature), feature)
    assert [p for p in free if not is_protected(p, unknown)] == []


def test_the_exams_of_all_features_are_protected_from_each() -> None:
    globs = protected_globs(listed(A, B), A)
    for path in ["tests/test_a.py", "tests/test_b.py", "check.py", "deep/conftest.py", "tox.ini",
                 "x.pth", "lib/sitecustomize.py", "sitecustomize/__init__.py", ".github/a.yml",
                 ".gitattributes", ".ci/run", "setup.cfg", "pytest.py", "_pytest/x"]:  # fmt: skip
        assert is_protected(path, globs), path
    for path in ["src/a.py", "tests/test_c.py", "src/check.py", "pyproject.toml", "x/pytest.py"]:
        assert not is_protected(path, globs), path


def test_given_globs_replace_the_standard_list_but_not_the_exams() -> None:
    globs = protected_globs(listed(A, protected=("data/**",)), A)
    assert is_protected("tests/test_a.py", globs)
    assert is_protected("data/x", globs)
    assert not is_protected("conftest.py", globs)
    assert not set(STANDARD) & set(globs)


def test_tests_in_a_named_folder_are_protected_and_new_ones_are_welcome() -> None:
    everything = Feature("a", "x", acceptance=("pytest tests --cov=src/app",))
    files = frozenset(
        ["tests/test_old.py", "tests/u/old_test.py", "tests/data.json", "src/app/core.py"]
    )
    globs = protected_globs(listed(everything), everything, existing_files=files)
    assert is_protected("tests/test_old.py", globs)
    assert is_protected("tests/u/old_test.py", globs)
    assert not is_protected("tests/test_new.py", globs)
    assert not is_protected("src/app/core.py", globs)


def test_what_the_scope_names_by_letter_is_the_features_own() -> None:
    own = Feature("a", "x", acceptance=("python app/cli.py --selftest",), scope=("./app/cli.py",))
    other = Feature("b", "x", scope=("app/**",))
    both = listed(own, other)
    assert not is_protected("app/cli.py", protected_globs(both, own))
    assert is_protected("app/cli.py", protected_globs(both, other))
    assert is_protected("app/cli.py", protected_globs(both))


def test_each_glob_is_told_once() -> None:
    globs = protected_globs(listed(A, A), A)
    assert len(set(globs)) == len(globs)


@pytest.mark.parametrize(
    ("command", "path"),
    [
        ("npm test", "package.json"),
        ("cargo test", "Cargo.toml"),
        ("sh -c 'go test ./...'", "go.mod"),
        ("./gradlew check", "gradlew"),
        ("mvn -q verify", "pom.xml"),
        ("rake", "Rakefile"),
        ("python -m shop.selftest", "shop/selftest.py"),
        ("true", "x-1.dist-info/entry_points.txt"),
        ("true", "src/x.egg-info/entry_points.txt"),
    ],
)
def test_scripts_behind_commands_are_protected(command: str, path: str) -> None:
    feature = Feature("a", "x", acceptance=(command,))
    globs = protected_globs(
        listed(feature), feature, existing_files=frozenset(["shop/selftest.py"])
    )
    assert is_protected(path, globs)
    assert not is_protected("shop/cart.py", globs)


@pytest.mark.parametrize(
    ("command", "path", "guarded"),
    [
        ("make test", "scripts/run_tests.sh", True),
        ("make test", "shop/selftest.py", True),
        ("sh ci.sh", "tools/test.py", True),
        ("sh ci.sh", "run-tests", True),
        ("make test", "shop/latest.py", False),
        ("make test", "shop/total.py", False),
        ("make test", "docs/testing.md", False),
        ("python -m pytest -q tests/test_a.py", "scripts/run_tests.sh", False),
    ],
)
def test_test_scripts_that_another_program_may_call(command: str, path: str, guarded: bool) -> None:
    features = FeatureList((Feature(id="f", description="d", acceptance=(command,)),), Project())
    globs = protected_globs(features, existing_files=frozenset({path}))
    assert is_protected(path, globs) is guarded


# ------------------------------------------------------- what an exam runs and reads

FILES = frozenset(
    ("Makefile", "bin/exam.sh", "checks/check.sh", "checks/expected.txt", "checks/lib.sh", "exam",
     "exam.py", "lib.sh", "package.json", "requirements.txt", "run_all.sh", "scripts/verify.js",
     "shop/a.py", "spec/run.py", "spec/want.json", "sub/Makefile", "tests/test_a.py")
)  # fmt: skip
TEXTS = {
    "run_all.sh": "set -e\n. ./lib.sh\nexec python spec/run.py shop/a.py\n",
    "spec/run.py": "open('spec/want.json')\n",
    "bin/exam.sh": '. "$(dirname "$0")"/more.sh\npip install -r requirements.txt\n',
    "Makefile": "-include local.mk\nall:\n\tcc shop/a.py\ntest: lint\n\tpytest tests\nexam:\n"
    "\tsh checks/check.sh\n",
    "package.json": '{"scripts": {"test": "node scripts/verify.js", "fmt": "x shop/a.py"}}',
}


@pytest.mark.parametrize(
    ("command", "inside"),
    [
        ("sh $PWD/bin/exam.sh", ["bin/exam.sh"]),
        ('sh "$(pwd)"/checks/check.sh', ["checks/check.sh", "checks/expected.txt"]),
        ("sh exam", ["exam"]),
        ("python -m exam", ["exam.py"]),
        ("python -c 'import exam'", ["exam.py"]),
        ("find checks -name '*.sh' | xargs -n1 sh", ["checks/check.sh", "checks/lib.sh"]),
        ("make -C sub test", ["sub/Makefile", "sub/GNUmakefile"]),
        ("cd sub && make test", ["sub/Makefile", "sub/makefile"]),
        ("make test", ["Makefile", "local.mk", "tests/test_a.py"]),
        ("make exam", ["checks/check.sh", "checks/lib.sh", "checks/fractions.py"]),
        ("sh run_all.sh", ["run_all.sh", "lib.sh", "spec/run.py", "spec/want.json"]),
        ("npm test", ["package.json", ".npmrc", "scripts/verify.js"]),
        ("prove -r t", [".proverc"]),
    ],
)
def test_what_an_exam_runs_and_reads(command: str, inside: list[str]) -> None:
    feature = Feature("a", "x", acceptance=(command,), scope=("shop/**",))
    globs = protected_globs(listed(feature), feature, existing_files=FILES, texts=TEXTS)
    assert [p for p in inside if not is_protected(p, globs)] == []
    for path in ["shop/a.py", "shop/new.py", "requirements.txt", "tests/test_new.py", "README.md"]:
        assert not is_protected(path, globs), path


def test_a_folder_of_exams_that_the_scope_names_is_the_features() -> None:
    feature = Feature("a", "x", acceptance=("sh checks/check.sh",), scope=("checks/**", "shop/**"))
    globs = protected_globs(listed(feature), feature, existing_files=FILES, texts=TEXTS)
    assert not is_protected("checks/new.txt", globs)
    assert is_protected("checks/check.sh", globs)


def test_without_a_scope_what_is_examined_stays_free() -> None:
    feature = Feature("a", "x", acceptance=("sh run_all.sh",))
    globs = protected_globs(listed(feature), feature, existing_files=FILES, texts=TEXTS)
    assert not is_protected("shop/a.py", globs)
    assert is_protected("spec/run.py", globs)


def test_a_setup_command_names_scripts_too() -> None:
    texts = {"tools/setup.sh": "sh tools/more.sh\npip install -r requirements.txt\n"}
    files = frozenset({"tools/setup.sh", "tools/more.sh", "requirements.txt", "shop/a.py"})
    found = setup_files("sh tools/setup.sh && pip install -e .", files, texts)
    assert found == {"tools/setup.sh", "tools/more.sh", "requirements.txt"}
    assert unread(["sh tools/setup.sh"], files, {}) == {"tools/setup.sh"}
    assert unread(["sh tools/setup.sh"], files, texts) == {"tools/more.sh"}
