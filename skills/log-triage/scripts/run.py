"""Reduces logs to the distinct errors and warnings in them."""

import sys

WORDS = {
    "error": ("error", "exception", "traceback", "fatal", "panic", "critical", "failed", "failure"),
    "warning": ("warn",),
}
_DIGITS = str.maketrans("0123456789", "0000000000")
_HEX = frozenset("0123456789abcdefABCDEF-")


def kind_of(line):
    """ "error", "warning" or None."""
    low = line.lower()
    for kind, words in WORDS.items():
        if any(word in low for word in words):
            return kind
    return None


def masked(line):
    """The line without what differs from one occurrence to the next: digits and long ids.
    Without `re`, whose import takes longer than most logs."""
    words = []
    for word in line.split():
        if len(word) >= 8 and _HEX.issuperset(word.strip("()[]{},.:;'\"")):
            words.append("#")
            continue
        word = word.translate(_DIGITS)
        while "00" in word:
            word = word.replace("00", "0")
        words.append(word.replace("0", "#"))
    return " ".join(words)[:300]


def gather(names):
    """Kinds by (severity, masked line): [count, first place, last place, an example]."""
    found = {}
    for name in names or ["-"]:
        file = sys.stdin if name == "-" else open(name, encoding="utf-8", errors="replace")
        with file:
            for number, line in enumerate(file, 1):
                severity = kind_of(line)
                if severity is None:
                    continue
                place = f"{name}:{number}"
                one = found.setdefault((severity, masked(line)), [0, place, place, line.strip()])
                one[0] += 1
                one[2] = place
    return found


def main(words):
    top, names, as_json, rest = 20, [], False, list(words)
    while rest:
        word = rest.pop(0)
        if word == "--json":
            as_json = True
        elif word == "--top" and rest and rest[0].isdigit():
            top = int(rest.pop(0))
        elif word.startswith("--"):
            print("usage: run.py [FILE ...] [--top N] [--json]", file=sys.stderr)
            return 2
        else:
            names.append(word)
    try:
        found = gather(names)
    except OSError as error:
        print(f"{error.filename}: {error.strerror}", file=sys.stderr)
        return 2
    rows = sorted(found.items(), key=lambda item: (item[0][0], -item[1][0]))
    if as_json:
        import json

        print(
            json.dumps(
                [
                    {
                        "severity": key[0],
                        "pattern": key[1],
                        "count": one[0],
                        "first": one[1],
                        "last": one[2],
                        "example": one[3][:500],
                    }
                    for key, one in rows[:top]
                ]
            )
        )
    else:
        for (severity, _), (count, first, last, example) in rows[:top]:
            where = first if first == last else f"{first} to {last}"
            print(f"{severity} x{count} ({where}): {example[:200]}")
        if len(rows) > top:
            print(f"and {len(rows) - top} more kinds (--top)")
        if not rows:
            print("no error and no warning")
    return 1 if any(severity == "error" for severity, _ in found) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
