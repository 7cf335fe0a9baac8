"""The kinds of failure that are told apart, how each is recognised, and what is known to help.

One table. It classifies a failure for its signature and, where no model reflects on it, it is
what a pattern says. The first kind that fits is taken, so that the special stands before the
general. The five error types of the original roadmap are marked; it names three of them.
"""

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Kind:
    """`error` and `message` are found (re.search) in the error's type and in its message; both
    must fit. `title` and `fix` are for the next attempt; `by_value`: the message compares values.
    """

    name: str
    title: str
    fix: str
    error: str = ""
    message: str = ""
    by_value: bool = False

    def fits(self, error: str, message: str) -> bool:
        return bool(re.search(self.error, error) and re.search(self.message, message))


KINDS: tuple[Kind, ...] = (
    # ------------------------------------------------ what verification says in its own words
    Kind(
        "protected-files",
        "changed files that no attempt may change",
        "Leave the exam, conftest.py and the test configuration alone; make the product right.",
        message=r"^changes protected files",
    ),
    Kind(
        "secret-in-patch",
        "the patch holds what looks like a secret",
        "Read secrets from the environment; in tests use values that have no real key's shape.",
        message=r"^adds what looks like",
    ),
    Kind(
        "unsafe-patch",
        "the patch does what no patch may",
        "No symbolic links that leave the tree, submodules, absolute paths or huge files.",
        message=r"^adds a (?:symbolic link|git submodule)|^writes an absolute|larger than \d+ MB",
    ),
    Kind(
        "merge-conflict",
        "it conflicted with what others had merged",
        "Start from the branch as it is now, change few lines, and keep to the feature's scope.",
        error=r"^merge$",
        message=r"(?i)conflict|does not apply|patch failed",
    ),
    Kind(
        "red-on-the-branch",
        "green alone, red together with what others had merged",
        "Run the whole project's tests; what another feature changed is there now.",
        error=r"^merge$",
    ),
    Kind(
        "review-rejection",
        "a person turned it down",
        "Answer the reviewer's reason first; passing checks were not enough.",
        error=r"^review$",
    ),
    Kind(
        "does-not-apply",
        "the patch does not apply",
        "Edit files in place in the workspace and leave the git directory alone.",
        message=r"does not apply|could not be put on the base",
    ),
    Kind(
        "dishonest-run",
        "the test run did not report what it ran",
        "Never end the process or touch the test runner from product code or tests: no exit "
        "calls on import, no replaced functions of pytest.",
        message=r"does not report what it ran",
    ),
    Kind(
        "regression",
        "broke tests that passed before",
        "Run the whole project's tests before submitting; keep the behaviour they rely on.",
        message=r"^breaks (?:tests|the project's tests)",
    ),
    Kind(
        "own-tests-fail",
        "added tests that fail",
        "Run your own tests before submitting and leave none of them red.",
        message=r"^adds tests that fail",
    ),
    Kind(
        "nothing-ran",
        "no test ran",
        "Check the names and places of the tests: something kept them from being collected.",
        message=r"no test ran and passed|no tests ran|collected 0 items|\bRan 0 tests",
    ),
    # ------------------------------------------------------------------ limits and endings
    Kind(
        "budget",
        "the money was used up before it was done",
        "Read less, decide sooner: look only at the files that the feature touches.",
        error=r"^limit$",
        message=r"\$|budget|\bUSD\b",
    ),
    Kind(
        "turn-limit",
        "ran out of turns",
        "Do not repeat a command that has told you all it can; submit as soon as the checks pass.",
        error=r"^limit$",
        message=r"turns? used",
    ),
    Kind(
        "token-limit",
        "ran out of tokens",
        "Ask for the part of a file or an output that you need.",
        error=r"^limit$",
        message=r"tokens? used|no longer fits",
    ),
    Kind(
        "time-limit",
        "ran out of time",
        "Bound every command that may run for ever, and submit once the checks pass.",
        error=r"^limit$",
        message=r"minutes? used",
    ),
    Kind(
        "gave-up",
        "stopped working without submitting",
        "Call `submit` when the checks pass.",
        error=r"^limit$",
    ),
    Kind(
        "model-declined",
        "the model declined or broke the protocol",
        "Keep to the task and to the tools.",
        error=r"Model(?:Refused|Malformed)Error",
    ),
    Kind(
        "timeout",  # the roadmap's TimeoutError
        "did not end in time",
        "Look for a loop or a wait that never ends: give every wait, lock, request and read a "
        "limit, and stop what was started.",
        message=r"timed out after|(?i:\btimed? ?out\b|exceeded \d+ ?s)",
    ),
    Kind(
        "timeout",
        "did not end in time",
        "Give every wait, lock, request and read a limit, and stop what was started.",
        error=r"Timeout",
    ),
    # --------------------------------------------------------------------- Python and others
    Kind(
        "missing-module",  # the roadmap's ImportError
        "imports a module that is not there",
        "The sandbox has no network: use the standard library and what the project has "
        "installed, and check the module's path and spelling.",
        message=r"No module named|Cannot find (?:module|package)|no required module provides|"
        r"can't find crate|is not in (?:std|GOROOT)",
    ),
    Kind(
        "missing-name-in-module",
        "imports a name that its module does not have",
        "Open the module and import what it really defines; look for an import cycle.",
        error=r"ImportError",
        message=r"cannot import name",
    ),
    Kind(
        "missing-name-in-module",
        "imports a name that its module does not have",
        "Open the module and import what it really exports.",
        error=r"SyntaxError",
        message=r"does not provide an export",
    ),
    Kind("import", "fails while it is imported", "Import it by itself and mend that first.",
         error=r"ImportError"),
    Kind("json", "reads text that is not JSON", "Check what is really read, and say what to do "
         "with malformed input.", error=r"JSONDecodeError|SyntaxError",
         message=r"JSON|Expecting (?:value|property|',')"),
    Kind(
        "syntax",
        "does not parse",
        "Compile every file you changed before submitting, such as by `python -m compileall -q .`.",
        error=r"SyntaxError|IndentationError|TabError",
    ),
    Kind("syntax", "does not parse", "Check every script you changed, such as by `sh -n FILE`.",
         error=r"^$", message=r"(?i)\bsyntax error\b"),
    Kind(
        "build",
        "does not compile",
        "Build before you test; mend the first error, for the others often follow from it.",
        error=r"^build failed$|error\[E\d+\]|^TS\d+",
    ),
    Kind(
        "missing-fixture",
        "a test asks for a fixture that does not exist",
        "Define the fixture where the test sees it, or build what it needs in the test.",
        message=r"fixture '[^']*' not found",
    ),
    Kind(
        "none",
        "used something that is not there (None, undefined, nil)",
        "Find where the missing value comes from, and handle its absence there.",
        message=r"'NoneType'|of (?:undefined|null)\b|nil pointer dereference",
    ),
    Kind(
        "missing-attribute",
        "uses an attribute that does not exist",
        "Open the class or module and use the names that it has.",
        error=r"AttributeError",
    ),
    Kind(
        "missing-attribute",
        "calls something that is not a function",
        "Look at what the object really is and what it exports.",
        error=r"TypeError",
        message=r"is not a function|is not a constructor",
    ),
    Kind(
        "wrong-arguments",
        "called with arguments that it does not take",
        "Compare the call with the definition; callers and tests fix the signature.",
        error=r"TypeError",
        message=r"argument",
    ),
    Kind("wrong-type", "a value of the wrong type", "Convert at the boundary, and test that "
         "with the inputs that a caller really passes.", error=r"TypeError"),
    Kind(
        "undefined-name",
        "uses a name that is not defined",
        "Define or import the name; run the linter on the files you changed.",
        error=r"NameError|UnboundLocalError|ReferenceError",
    ),
    Kind("undefined-name", "uses a name that is not defined", "Define or import the name.",
         message=r"^undefined: "),
    Kind("division", "divides by zero", "Decide what the result is when there is nothing to "
         "divide by, and test it.", error=r"ZeroDivisionError|^panic$", message=r"(?i)divi"),
    Kind("recursion", "calls itself without end", "Find the case that never reaches the end of "
         "the recursion.", error=r"RecursionError|RangeError|^fatal error$",
         message=r"(?i)recursion|call stack|stack overflow|stack exceeds"),
    Kind("missing-key", "looks up a key that is not there", "Decide what a missing key means, "
         "and test that case.", error=r"KeyError"),
    Kind("out-of-range", "reaches beyond the end of a sequence", "Handle empty and short "
         "inputs before indexing.", error=r"IndexError|RangeError"),
    Kind("out-of-range", "reaches beyond the end of a sequence", "Handle empty and short "
         "inputs before indexing.", error=r"panic", message=r"out of range"),
    Kind("encoding", "text in another encoding than expected", "Name the encoding when reading "
         "and writing, and decide what to do with bytes that do not fit.", error=r"^Unicode"),
    Kind("value", "a value that is not accepted", "Check inputs where they come in, and say "
         "what was wrong.", error=r"ValueError"),
    Kind("memory", "needs more memory than there is", "Read and keep less at once.",
         error=r"MemoryError"),
    Kind("memory", "needs more memory than there is", "Read and keep less at once.",
         message=r"(?i)out of memory|exit 137\b"),
    Kind("port-in-use", "a port that is already taken", "Let the system choose the port (0), "
         "close what was opened, and turn the error into the message that is asked for.",
         message=r"(?i)address already in use|EADDRINUSE"),
    Kind("connection", "a connection that was refused or broke", "The sandbox has no network; "
         "start servers within the test, wait until they listen, and answer every request, "
         "failures too.", error=r"Connect|Disconnect|BrokenPipe|URLError|gaierror"),
    Kind("connection", "a connection that was refused or broke", "The sandbox has no network; "
         "start servers within the test and wait until they listen.",
         message=r"(?i)connection (?:refused|reset)|ECONNREFUSED|ENOTFOUND|name or service not "),
    Kind("missing-file", "opens a file that is not there", "Build paths from the module's or "
         "the caller's folder, create what is missing, and handle its absence.",
         message=r"(?i)no such file or directory|ENOENT|cannot find the file"),
    Kind("permission", "is not allowed to", "Write below the working folder or TMPDIR only.",
         message=r"(?i)permission denied|EACCES|not permitted|read-only file system"),
    Kind("command-not-found", "runs a command that is not installed", "Use what is installed; "
         "look with `command -v` first.", message=r": (?:command )?not found\b|exit 127\b"),
    Kind("early-exit", "ended the process itself", "Return instead of leaving the process; "
         "only the outermost command line may exit.", error=r"SystemExit|KeyboardInterrupt"),
    Kind("never-awaited", "a coroutine that was never awaited", "Await it, or gather it.",
         message=r"was never awaited|no running event loop|different (?:event )?loop"),
    Kind("deadlock", "waits for itself", "Look for a lock or channel that is waited for twice "
         "or that nobody serves.", message=r"(?i)deadlock|all goroutines are asleep"),
    Kind("race", "a data race", "Guard the shared value.", message=r"(?i)data race"),
    Kind("crash", "the interpreter or program crashed", "Look for native code and signals.",
         message=r"(?i)segmentation fault|core dumped|exit 13[49]\b|signal 1?1\b"),
    Kind("not-implemented", "a part that is not implemented", "Implement it, or do not call it.",
         error=r"NotImplementedError"),
    Kind("warning-as-error", "a warning that counts as an error", "Use what the warning "
         "recommends.", error=r"Warning$"),
    Kind("types", "the type checker objects", "Run the type checker on what you changed.",
         message=r"\berror: .*\[[a-z-]+\]|\bTS\d{4}:"),
    Kind("lint", "the linter or formatter objects", "Run it on what you changed.",
         message=r"(?i)would reformat|\bFound \d+ errors?\b|eslint"),
    Kind(
        "assertion",  # the roadmap's TestFailure
        "gives another result than the test expects",
        "Read the failing test and work its case through by hand before changing the code.",
        error=r"Assertion|^test failure$|^Failed$",
        by_value=True,
    ),
    Kind("assertion", "gives another result than the test expects", "Read the failing test and "
         "work its case through by hand.", error=r"^$", message=r"^(?:E +)?assert\b|, want ",
         by_value=True),
    Kind("failed-command", "a command of the exam failed", "Run that command and read what it "
         "says.", message=r"^exit \d+|ended with exit \d+"),
)  # fmt: skip

#: What fits none of the kinds.
OTHER = Kind("other", "failed", "Run the failing command and read what it says.")


def kind_of(error: str, message: str) -> Kind:
    """The first kind that an error's type (its last name, may be empty) and message fit."""
    name = error.rpartition(".")[2]
    return next((kind for kind in KINDS if kind.fits(name, message)), OTHER)


def named(name: str, error: str = "", message: str = "") -> Kind:
    """Of the kinds of this name the one that fits, else the first; `OTHER` when a later version
    wrote it."""
    same = [kind for kind in KINDS if kind.name == name] or [OTHER]
    last = error.rpartition(".")[2]
    return next((kind for kind in same if kind.fits(last, message)), same[0])
