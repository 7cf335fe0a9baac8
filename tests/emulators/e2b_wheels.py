"""Wheels of what is installed here, so that an emulated template build can run pip offline."""

import importlib.metadata
import zipfile
from pathlib import Path


def wheelhouse(folder: Path, names: list[str]) -> Path:
    """`folder`, filled with a wheel of each distribution in `names` that is installed."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        try:
            _pack(importlib.metadata.distribution(name), folder)
        except importlib.metadata.PackageNotFoundError:
            continue
    return folder


def _pack(dist: importlib.metadata.Distribution, folder: Path) -> None:
    tags = [
        line.partition(": ")[2]
        for line in (dist.read_text("WHEEL") or "Tag: py3-none-any").splitlines()
        if line.startswith("Tag: ")
    ]
    tag = tags[-1]  # where Python 2's is among them, it is the first
    stem = f"{dist.metadata['Name'].replace('-', '_')}-{dist.version}"
    target = folder / f"{stem}-{tag}.whl"
    if target.exists():
        return
    making = target.with_suffix(".part")
    with zipfile.ZipFile(making, "w") as archive:
        for entry in dist.files or ():
            source = Path(str(dist.locate_file(entry)))
            if not source.is_file() or source.suffix == ".pyc":
                continue
            if ".." not in entry.parts:
                archive.write(source, str(entry))
            elif source.parent.name == "bin" and not source.read_bytes().startswith(b"#!"):
                archive.write(source, f"{stem}.data/scripts/{source.name}")
    making.rename(target)
