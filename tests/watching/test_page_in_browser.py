"""The live page in a browser: it follows the run, keeps the reader's place, and fits a phone."""

from __future__ import annotations

from typing import Any

import pytest

from bench.store.live import LiveProgress
from bench.store.store import Store
from bench.watching.server import WatchServer
from tests.watching.conftest import BROKE

REFRESH_NOW = "document.dispatchEvent(new Event('visibilitychange'))"


@pytest.fixture
def page(chromium: Any) -> Any:
    opened = chromium.new_page(viewport={"width": 360, "height": 740}, color_scheme="dark")
    opened.errors = []
    opened.on("pageerror", lambda error: opened.errors.append(str(error)))
    opened.on("console", lambda message: opened.errors.append(message.text))
    yield opened
    opened.close()


def test_the_page_follows_the_run(page: Any, watched: Store, training: LiveProgress, server: WatchServer) -> None:
    training.event("step", {"step": 1, "total": 5, "loss": 0.5})
    page.goto(server.url)
    assert "step 1/5" in page.locator("#running").text_content() and page.locator("#curves svg.curves").count() == 2
    link = page.get_by_role("link", name=f"logs/{BROKE}.log")
    link.focus()
    training.event("step", {"step": 3, "total": 5, "loss": 0.25})
    page.evaluate(REFRESH_NOW)
    page.get_by_text("step 3/5").wait_for(timeout=5000)
    assert link.evaluate("link => link === document.activeElement")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(18, 22, 27)"
    assert page.locator("main img, main script").count() == 0 and page.title().startswith("running")
    unnamed = "all => all.filter(each => !each.getAttribute('aria-label') && !each.labels?.length && !each.ariaHidden)"
    assert page.locator("svg[role=img], progress, [role=region]").evaluate_all(f"{unnamed}.length") == 0
    assert page.errors == [], "the page keeps to its own policy"


def test_the_page_says_when_the_server_is_gone(page: Any, watched: Store, server: WatchServer) -> None:
    page.goto(server.url)
    assert page.locator("#lost").is_hidden()
    page.route("**/status.json", lambda route: route.abort())
    page.evaluate(REFRESH_NOW)
    page.locator("#lost").wait_for(timeout=5000)


def test_the_report_works_in_its_sandbox(page: Any, watched: Store, server: WatchServer, hostile_page: str) -> None:
    """Scripts of the report run, and the report reaches nothing of the server."""
    watched.put_invocation(
        watched.invocations()[-1] | {"ended": "now", "seconds": 5, "exit_code": 1}, replace_last=True
    )
    (watched.folder / "report.html").write_text(hostile_page, encoding="utf-8")
    page.goto(f"{server.url}report.html")
    page.locator("#out").get_by_text("refused").wait_for(timeout=5000)


@pytest.fixture
def hostile_page() -> str:
    return (
        "<!doctype html><p id=out></p><script>fetch('/status.json').then(() => 'read', () => 'refused')"
        ".then(word => document.getElementById('out').textContent = word)</script>"
    )
