"""Files that a ticket links to: asked of the one host, bounded, and quoted as data."""

import re

import pytest

from harness.tickets import intake
from harness.tickets.github import opened
from orchestrator.tickets.ticket import Linked, Ticket
from tests.emulators.github import REPO
from tests.harness.tickets.shop import BODY, TITLE, Shop


async def fetched(shop: Shop, body: str) -> Ticket:
    shop.github.issue(7, TITLE, f"{BODY}\n\n{body}", "eve")
    async with opened(REPO, shop.reader, shop.github.url) as github:
        return await intake.fetch(github, intake.Wanted(7, shop.github.url))


async def test_blobs_and_attachments_come_with_the_ticket(shop: Shop) -> None:
    host = shop.github.url
    shop.github.files["main", "src/a b.py"] = b"one\ntwo\nthree\n"
    shop.github.attachments[f"/{REPO}/files/12/x.log"] = "it failed: ä\n".encode()
    shop.github.attachments["/user-attachments/files/13/y.bin"] = b"\x00\xff"
    shop.github.redirects["/user-attachments/files/14/z.log"] = f"{host}/moved/z"
    shop.github.redirects["/moved/z"] = f"{host}/kept/z"
    shop.github.attachments["/kept/z"] = b"kept elsewhere"
    found = await fetched(
        shop,
        f"[a]({host}/{REPO}/blob/main/src/a%20b.py#L2-L3) {host}/{REPO}/files/12/x.log\n"
        f"{host}/user-attachments/files/13/y.bin, {host}/user-attachments/files/14/z.log.\n"
        f"{host}/{REPO}/blob/main/gone.py",
    )
    assert found.files[:4] == (
        Linked("src/a b.py", "two\nthree"), Linked("x.log", "it failed: ä\n"),
        Linked("y.bin", why_not="it is not text"), Linked("z.log", "kept elsewhere"),
    )  # fmt: skip
    assert "404" in found.files[4].why_not


@pytest.mark.parametrize(
    "where",
    [
        "http://127.0.0.1:1/x", "https://evil.example/x", "file:///x", "",
        "https://objects.githubusercontent.com.evil.example/x",
    ],
)  # fmt: skip
async def test_no_redirection_leads_elsewhere(shop: Shop, where: str) -> None:
    shop.github.redirects[f"/{REPO}/files/12/x.log"] = where
    (file,) = (await fetched(shop, f"{shop.github.url}/{REPO}/files/12/x.log")).files
    assert "not there for everybody" in file.why_not


async def test_other_hosts_and_other_repositories_are_never_asked(shop: Shop) -> None:
    host = shop.github.url
    other = re.sub(r"\d+$", "1", host)
    found = await fetched(
        shop, f"{other}/{REPO}/files/12/x.log {host}/evil/shop/blob/main/a.py {host}/{REPO}/raw/x"
    )
    assert found.files == ()
    assert not any("a.py" in line or "x.log" in line for line in shop.github.log)


async def test_a_giant_is_left_out(shop: Shop) -> None:
    shop.github.attachments[f"/{REPO}/files/12/x.log"] = b"x" * 1_000_001
    (file,) = (await fetched(shop, f"{shop.github.url}/{REPO}/files/12/x.log")).files
    assert file.text == ""
