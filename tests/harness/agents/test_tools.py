"""The tools as the model sees them: what a call does, and what it reads back."""

from pathlib import Path

import pytest

from harness.agents.tools import COMMAND_SECONDS, OUTPUT_LIMIT, Toolbox, bounded, describe
from harness.ports import ExecResult
from orchestrator.errors import SandboxGoneError
from tests.harness.agents.workbench import FolderSandbox, Seen, StepClock, bash, call


@pytest.fixture
def sandbox(tmp_path):
    return FolderSandbox(tmp_path / "work")


async def use(sandbox, block, seconds: float = 60.0) -> tuple[str, bool]:
    toolbox = Toolbox(sandbox, Seen().observer(), StepClock())
    found = await toolbox.run(block, seconds)
    assert found["tool_use_id"] == block["id"] and found["type"] == "tool_result"
    return found["content"][0]["text"], found.get("is_error", False)


def edit(command: str, path: str = "a.txt", **given):
    return call("edit", command=command, path=path, **given)


async def test_bash_shows_both_streams_in_order_and_the_exit_status(sandbox):
    shown, wrong = await use(sandbox, bash("echo one; echo two >&2; echo three; exit 3"))
    assert shown == "one\ntwo\nthree\n[exit status 3]" and not wrong


async def test_bash_says_when_there_is_nothing(sandbox):
    assert (await use(sandbox, bash("true")))[0] == "[no output] [exit status 0]"


async def test_bash_keeps_heredocs_and_syntax_errors_whole(sandbox):
    shown, _ = await use(sandbox, bash("cat <<'END'\nin\nEND\necho out"))
    assert shown == "in\nout"
    assert "syntax error" in (await use(sandbox, bash("if then")))[0]


async def test_bash_is_ended_with_the_attempts_time(sandbox):
    shown, wrong = await use(sandbox, bash("sleep 30"), seconds=0.01)
    assert "timed out after 1 s" in shown and not wrong


async def test_no_command_may_take_longer_than_its_share(sandbox):
    class Asked(FolderSandbox):
        async def exec(self, command, *, timeout=0.0, **options):
            self.timeout = timeout
            return ExecResult(0, b"", b"")

    asked = Asked(Path(sandbox.workdir))
    await use(asked, bash("true"), seconds=10_000)
    assert asked.timeout == COMMAND_SECONDS == 120
    await use(asked, bash("true"), seconds=7)
    assert asked.timeout == 7


async def test_long_output_keeps_head_and_tail(sandbox):
    shown, _ = await use(sandbox, bash("seq 1 100000; exit 1"))
    assert len(shown) < OUTPUT_LIMIT + 100
    assert shown.startswith("1\n2\n") and "left out" in shown and "100000" in shown


def test_bounded_leaves_short_text_alone_and_counts_what_it_drops():
    assert bounded("x" * 100, 100) == "x" * 100
    assert bounded("a" * 60 + "b" * 60, 100) == (
        "a" * 50 + "\n[... 20 characters left out ...]\n" + "b" * 50
    )


def test_bytes_that_are_no_text_are_shown_anyway():
    assert "\ufffd" in describe(ExecResult(0, b"\xff\xfe", b""), 1)


async def test_create_view_replace_insert(sandbox):
    assert await use(sandbox, edit("create", text="one\ntwo\nthree\n")) == (
        "wrote a.txt, 3 lines",
        False,
    )
    shown, _ = await use(sandbox, edit("view", start=2))
    assert shown == "     2\ttwo\n     3\tthree"
    assert (await use(sandbox, edit("view", start=2, end=2)))[0] == "     2\ttwo"
    replaced, _ = await use(sandbox, edit("replace", old="two\n", new="2\n"))
    assert replaced == "replaced in a.txt at line 2"
    await use(sandbox, edit("insert", line=0, text="zero"))
    await use(sandbox, edit("insert", line=4, text="four\n"))
    assert sandbox.files() == {"a.txt": "zero\none\n2\nthree\nfour\n"}


async def test_insert_after_a_line_without_an_end(sandbox):
    await use(sandbox, edit("create", text="one"))
    await use(sandbox, edit("insert", line=1, text="two"))
    assert sandbox.files() == {"a.txt": "one\ntwo\n"}


async def test_line_ends_of_other_kinds_survive(sandbox):
    await sandbox.upload("a.txt", b"a\r\nb\x0cc\r\nd")
    await use(sandbox, edit("replace", old="d", new="e"))
    await use(sandbox, edit("insert", line=1, text="x\r\n"))
    assert await sandbox.download("a.txt") == b"a\r\nx\r\nb\x0cc\r\ne"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"old": "x", "new": "y"}, "occurs 2 times"),
        ({"old": "q", "new": "y"}, "does not occur"),
        ({"old": "", "new": "y"}, "does not occur"),
    ],
)
async def test_replace_wants_exactly_one_place(sandbox, given, words):
    await sandbox.upload("a.txt", b"x x")
    shown, wrong = await use(sandbox, edit("replace", **given))
    assert wrong and words in shown
    assert sandbox.files() == {"a.txt": "x x"}


@pytest.mark.parametrize(
    ("block", "words"),
    [
        (edit("view", path="bin"), "not UTF-8"),
        (edit("view", path="folder"), "is not a regular file"),
        (edit("create", path="folder", text=""), "Is a directory"),
        (edit("view", path="big"), "larger than"),
        (edit("view", path="a/../../x"), "not a file inside"),
        (edit("view", path="."), "not a file inside"),
        (edit("insert", path="ok", line=9, text="t"), "`line` must be 0 to 1"),
        (edit("insert", path="ok", line=-1, text="t"), "`line` must be 0 to 1"),
    ],
)
async def test_what_cannot_be_edited_says_why(sandbox, block, words):
    await sandbox.upload("bin", b"\xff\x00\xfe")
    await sandbox.upload("folder/x", b"")
    await sandbox.upload("big", b"x" * 2_000_001)
    await sandbox.upload("ok", b"line\n")
    shown, wrong = await use(sandbox, block)
    assert wrong and words in shown


async def test_a_path_may_be_written_absolutely(sandbox):
    await use(sandbox, edit("create", path=f"{sandbox.workdir}/sub/./b.txt", text="b"))
    assert sandbox.files() == {"sub/b.txt": "b"}


async def test_a_view_beyond_the_end_is_said_to_be_empty(sandbox):
    await sandbox.upload("a.txt", b"one\n")
    assert "has 1 lines" in (await use(sandbox, edit("view", start=5)))[0]


@pytest.mark.parametrize("block", [bash("true"), edit("view"), edit("create", text="x")])
async def test_a_dead_sandbox_is_raised(sandbox, block):
    await sandbox.destroy()
    with pytest.raises(SandboxGoneError):
        await use(sandbox, block)
