"""Every guest's page in a real browser: whether it can be used, read, and held in one hand.

``portalctl theme preview`` writes the pages; axe judges them. One Chromium for all.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import axe_core_python
import pytest

from portald.colours import ENOUGH, contrast
from portald.ctl.main import main
from portald.theme import STYLES
from tests import chromium

pytestmark = pytest.mark.browser

AXE = (Path(axe_core_python.__file__).parent / "axe.min.js").read_text("utf-8")
PHONE = (320, 568)
FINGER = 44
"""Pixels that a control must be high, for a finger to hit it."""
TELLING = (
    "first-more-ways", "first-known", "first-wrong-number", "first-carrier-only", "sending", "code-wrong",
    "code-fetching-e-mail", "code-new-password", "link", "online-limited", "left", "voucher", "staff-asked",
    "terms",
)  # fmt: skip
"""Pages on which together there is everything that a style draws: the others need no second look."""
PICTURED = ("first", "code", "online")
SETTINGS = """
name = "Café Aurora am alten Güterbahnhof"
[[zones]]
interface = "br-guest"
networks = ["10.77.0.0/24"]
terms = "{folder}/terms.txt"
[numbers]
country = "DE"
[[sms]]
type = "sandbox"
url = "http://127.0.0.1:8025"
"""
SCHEMES = ("light", "dark")
THEMES = {
    "plain": "",
    # Yellow: nothing is harder to read on white.
    "own": '[theme]\ncolour = "#ffee00"\nband = "#ffee00"\n',
    "picture": '[theme]\nbackground = "{folder}/white.svg"\n',
}
WHITE = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><path fill="#fff" d="M0 0h9v9H0z"/></svg>'
)


class Pages:
    """Folders of pages, and the browser that looks at them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (folder / "terms.txt").write_text("Be kind to others, and to the Wi-Fi. " * 40)
        (folder / "white.svg").write_text(WHITE)
        self.chrome = chromium.start(folder / "profile", PHONE)
        chromium.ARTEFACTS.mkdir(exist_ok=True)

    def write(self, name: str, *options: str, theme: str = "") -> list[str]:
        """Let portalctl write a folder of pages; return their names."""
        settings = self._folder / f"{name}.toml"
        settings.write_text((SETTINGS + theme).format(folder=self._folder))
        folder = self._folder / name
        assert main(["theme", "preview", str(folder), "--config", str(settings), *options]) == 0
        return sorted(page.stem for page in folder.glob("*.html") if page.stem != "index")

    def text(self, name: str) -> str:
        return (self._folder / f"{name}.html").read_text("utf-8")

    def prefer(self, scheme: str) -> None:
        """Be a telephone that is set to dark pages, or to light ones."""
        chosen = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        self.chrome.execute_cdp_cmd("Emulation.setEmulatedMedia", chosen)

    def open(self, name: str, unfold: bool = True) -> None:
        """Open a light page, and what folds on it: what axe cannot see it does not judge."""
        self.prefer("light")
        self.chrome.get((self._folder / f"{name}.html").as_uri())
        if unfold:
            self.chrome.execute_script(
                "document.querySelectorAll('details').forEach((each) => each.open = true)"
            )

    def faults(self, *rules: str) -> list[Any]:
        """Let axe judge the open page; return what it has to say against it."""
        if not self.chrome.execute_script("return 'axe' in window"):
            self.chrome.execute_script(AXE)
        found = self.chrome.execute_async_script(JUDGE, {"runOnly": list(rules)} if rules else {})
        assert "color-contrast" in found["passed"], "contrast was not judged"
        return list(found["against"])


JUDGE = """
const [options, done] = arguments;
const nodes = (rules) => rules.flatMap((rule) => rule.nodes.map((node) => [rule.id, node.html.slice(0, 200)]));
axe.run(document, options).then(({violations, incomplete, passes}) => {
  // Over a gradient axe does not know; what is outside the card is looked at pixel by pixel.
  for (const rule of incomplete) rule.nodes = rule.nodes.filter(
    (node) => rule.id != "color-contrast" || document.querySelector(node.target[0]).closest("main"));
  done({against: nodes([...violations, ...incomplete]), passed: passes.map((rule) => rule.id)});
});
"""
LOW = """
const controls = "button, .button, select, input:not([type=hidden], [type=checkbox])";
return [...document.querySelectorAll(controls)].filter((each) => each.getBoundingClientRect().height < arguments[0])
  .map((each) => each.outerHTML);
"""
BEHIND = """
const [picture, where, done] = arguments;
const image = new Image();
image.onload = () => {
  const canvas = new OffscreenCanvas(image.width, image.height).getContext("2d"), seen = new Set();
  canvas.drawImage(image, 0, 0);
  const {data} = canvas.getImageData(where.x, where.y, where.width, where.height);
  for (let at = 0; at < data.length; at += 4)
    seen.add("#" + [...data.slice(at, at + 3)].map((one) => one.toString(16).padStart(2, "0")).join(""));
  done([...seen]);
};
image.src = "data:image/png;base64," + picture;
"""
HEX = """
const hex = (colour) => "#" + colour.match(/[0-9]+/g).slice(0, 3).map((one) => Number(one).toString(16).padStart(2, "0")).join("");
"""
OUTLINE = """
const each = document.querySelector(arguments[0]);
each.style.visibility = "hidden";
each.scrollIntoView();
return [hex(getComputedStyle(each).color), each.getBoundingClientRect().toJSON()];
"""
# axe does not look at what stands in a field before anybody types.
EXAMPLES = """
return [...document.querySelectorAll("[placeholder]")].map((each) =>
  [hex(getComputedStyle(each, "::placeholder").color), hex(getComputedStyle(each).backgroundColor)]);
"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pages]:
    made = Pages(tmp_path_factory.mktemp("pages"))
    yield made
    made.chrome.quit()


def kinds(page: str) -> set[tuple[str, str]]:
    """Return the elements of a page as a style sees them."""
    found = re.findall(
        r'<(\w+)((?: [\w-]+(?:="[^"]*")?)*)', re.sub(r"<script.*?</script>", "", page, flags=re.S)
    )
    return {(tag, "".join(re.findall(r' (?:class|aria-invalid)="[^"]*"', rest))) for tag, rest in found}


def test_every_page_can_be_used_and_read(pages: Pages) -> None:
    names = pages.write("english")
    assert len(names) > 30
    for name in names:
        chromium.resize(pages.chrome, *PHONE)
        pages.open(f"english/{name}")
        assert pages.faults() == [], name
        assert chromium.too_wide(pages.chrome) <= 0, name
        assert pages.chrome.execute_script(LOW, FINGER) == [], name
        chromium.resize(pages.chrome, 1280, 800)
        assert chromium.too_wide(pages.chrome) <= 0, f"{name}, on a computer"
        pages.chrome.execute_script("document.documentElement.style.fontSize = '200%'")
        assert chromium.too_wide(pages.chrome) <= 0, f"{name}, with large letters"


@pytest.mark.parametrize("style", [*STYLES, "own"])
def test_every_style_can_be_read(pages: Pages, style: str) -> None:
    chosen = () if style == "own" else ("--style", style)
    names = pages.write(style, *chosen, theme=THEMES["own"] if style == "own" else "")
    everything = set[tuple[str, str]]().union(*(kinds(pages.text(f"{style}/{name}")) for name in names))
    telling = set[tuple[str, str]]().union(*(kinds(pages.text(f"{style}/{name}")) for name in TELLING))
    assert telling == everything, "something is on other pages only"
    chromium.resize(pages.chrome, *PHONE)
    for name in TELLING:
        pages.open(f"{style}/{name}")
        assert chromium.too_wide(pages.chrome) <= 0, name
        assert pages.chrome.execute_script(LOW, FINGER) == [], name
        for scheme in SCHEMES:
            pages.prefer(scheme)
            assert pages.faults("color-contrast") == [], f"{name}, {scheme}"
            for colour, ground in pages.chrome.execute_script(HEX + EXAMPLES):
                assert contrast(colour, ground) >= ENOUGH, f"{name}, {scheme}: {colour} on {ground}"
    for name in PICTURED:
        pages.open(f"{style}/{name}", unfold=False)
        for scheme in SCHEMES:
            pages.prefer(scheme)
            pages.chrome.save_screenshot(str(chromium.ARTEFACTS / f"{style}-{scheme}-{name}.png"))


@pytest.mark.parametrize("theme", THEMES)
def test_what_stands_outside_the_card_can_be_read(pages: Pages, theme: str) -> None:
    """The background may be a gradient or a picture: every pixel of it behind the words counts."""
    chromium.resize(pages.chrome, *PHONE)
    for style in STYLES:
        pages.write(f"{theme}-{style}", "--style", style, theme=THEMES[theme])
        pages.open(f"{theme}-{style}/left", unfold=False)
        for scheme, part in product(SCHEMES, ("header span", "footer p")):
            pages.prefer(scheme)
            colour, where = pages.chrome.execute_script(HEX + OUTLINE, part)
            assert 0 <= where["top"] < where["bottom"] <= PHONE[1], "it must be on the screen"
            screen = pages.chrome.get_screenshot_as_base64()
            behind = pages.chrome.execute_async_script(BEHIND, screen, where)
            worst = min(behind, key=lambda ground: contrast(colour, ground))
            assert contrast(colour, worst) >= ENOUGH, f"{style}, {scheme}: {part} {colour} on {worst}"


@pytest.mark.parametrize("language", ["ar", "de"])
def test_other_directions_and_longer_words_fit(pages: Pages, language: str) -> None:
    chromium.resize(pages.chrome, *PHONE)
    for name in pages.write(language, "--language", language):
        pages.open(f"{language}/{name}")
        assert chromium.too_wide(pages.chrome) <= 0, name
        assert pages.chrome.execute_script(LOW, FINGER) == [], name
        if name in TELLING:
            assert pages.faults() == [], name
