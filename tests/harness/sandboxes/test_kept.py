"""What is made once, and once more where a crash of the machine left it in part."""

from pathlib import Path

from harness.sandboxes.kept import kept


def test_made_once_and_again_where_it_is_not_whole(tmp_path: Path) -> None:
    final, lock = tmp_path / "root" / "key", tmp_path / "lock"
    made: list[Path] = []

    def make(folder: Path) -> None:
        made.append(folder)
        (folder / "tool").write_text("content")

    def after_another_start() -> None:
        mark = final.with_name("key.whole")
        mark.write_text("another-start " + mark.read_text().split()[1])

    assert kept(final, lock, make) == final
    kept(final, lock, make)
    after_another_start()
    kept(final, lock, make)
    assert len(made) == 1
    after_another_start()
    (final / "tool").write_text("")  # a power cut before it was written back
    kept(final, lock, make)
    assert (final / "tool").read_text() == "content"
    final.with_name("key.whole").write_text("")
    kept(final, lock, make)
    assert len(made) == 3
