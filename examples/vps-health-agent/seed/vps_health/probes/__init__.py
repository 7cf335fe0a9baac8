"""One module per probe, each with `read(proc="/proc")` returning a dict of plain numbers."""
