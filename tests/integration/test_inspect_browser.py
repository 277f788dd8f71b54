"""The page of ``mlipq inspect`` in a real browser: it draws, works, complains of nothing and asks nobody for anything."""

import asyncio
import subprocess
import sysconfig
from pathlib import Path

import numpy as np
import pytest
from browser import Page, browser

from mlipq.hub.inspect import inspect_dataset
from mlipq.schema import Flag
from mlipq.store import Manifest, ShardEntry, open_dataset, pack, write_shard

pytestmark = pytest.mark.integration

MLIPQ = Path(sysconfig.get_path("scripts")) / "mlipq"
SAMPLES = Path(__file__).parents[2] / "datasets" / "samples"
PHONE, WIDE = (390, 844), (1440, 900)
HOSTILE = "</script><script>alert(1)</script><img src=http://evil.example/x onerror=alert(2)><svg onload=alert(3)>"

COLOURS = """
(() => {
  const canvas = [...document.querySelectorAll(".picture canvas")].filter((one) => one.offsetParent)[%d];
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  const colours = new Set();
  let painted = 0;
  for (let k = 0; k < data.length; k += 4) {
    if (data[k + 3] > 0) { painted += 1; colours.add((data[k] << 16) | (data[k + 1] << 8) | data[k + 2]); }
  }
  return [painted / (data.length / 4), colours.size];
})()
"""
"""Share of a still picture that is painted, and in how many colours."""

CONTRASTS = """
(() => {
  const seen = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgb = (colour, under) => {
    seen.fillStyle = under; seen.fillRect(0, 0, 1, 1);
    seen.fillStyle = colour; seen.fillRect(0, 0, 1, 1);
    return [...seen.getImageData(0, 0, 1, 1).data.slice(0, 3)];
  };
  const light = (parts) => {
    const [r, g, b] = parts.map((part) => part / 255).map((x) => (x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    const layers = [];
    for (let one = element; one; one = one.parentElement) layers.unshift(getComputedStyle(one).backgroundColor);
    let under = "white";
    for (const layer of layers) under = `rgb(${rgb(layer, under).join(",")})`;
    return under;
  };
  const low = [];
  for (const element of document.querySelectorAll("p, li, dt, dd, h1, h2, h3, h4, th, td, a, small, b, code, button, caption, summary")) {
    const said = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!said || !element.offsetParent || element.closest(".hidden, .skip, [aria-hidden]")) continue;
    const under = ground(element), style = getComputedStyle(element);
    const [one, two] = [light(rgb(style.color, under)), light(rgb(under, under))].sort((a, b) => b - a);
    const ratio = (one + 0.05) / (two + 0.05);
    if (ratio < 4.5) low.push(`${element.tagName}.${element.className} ${element.textContent.trim().slice(0, 30)}: ${ratio.toFixed(2)}`);
  }
  return low;
})()
"""
"""Texts whose contrast with what lies under them is less than 4.5 (WCAG AA)."""

NAMELESS = """
[...document.querySelectorAll("button, a, svg[role=img], canvas")]
  .filter((one) => one.offsetParent && !one.closest("[aria-hidden], .live")
    && !(one.textContent.trim() || one.getAttribute("aria-label") || one.title)).map((one) => one.outerHTML)
"""


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Path:
    """A page of every bundled sample, made as a user makes it."""
    folder = tmp_path_factory.mktemp("browser")
    for arguments in (["label", SAMPLES, "-o", "out"], ["inspect", "out", "-o", "report.html"]):
        subprocess.run([MLIPQ, *arguments], cwd=folder, check=True, capture_output=True, timeout=280)
    return folder / "report.html"


def alone(page: Page, report: Path) -> None:
    """The page asked for nothing but itself, and nothing went wrong."""
    assert set(page.requests) == {report.as_uri()}
    assert page.complaints == []


async def scrolled(page: Page) -> None:
    """Go to every picture, and wait until it is drawn."""
    for number in range(await page.run("document.querySelectorAll('.picture[data-structure]').length")):
        picture = f"document.querySelectorAll('.picture[data-structure]')[{number}]"
        await page.run(f"{picture}.scrollIntoView({{ behavior: 'instant' }})")
        await page.until(f"{picture}.dataset.drawn === 'yes'")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("window", [PHONE, WIDE], ids=["phone", "wide"])
def test_the_page_fits_its_window_and_draws_every_structure(report, window, dark):
    async def look():
        async with browser() as page:
            await page.open(report.as_uri(), *window, dark=dark)
            assert await page.run("document.documentElement.scrollWidth") == window[0]
            await scrolled(page)
            n_pictures = await page.run("document.querySelectorAll('.picture[data-structure]').length")
            assert n_pictures == await page.run("document.querySelectorAll('.suspect').length") > 15
            for number in range(n_pictures):
                painted, colours = await page.run(COLOURS % number)
                assert 0.001 < painted < 0.9 and colours > 20
            assert await page.run(CONTRASTS) == []
            assert await page.run(NAMELESS) == []
            ground = await page.run("getComputedStyle(document.body).backgroundColor")
            assert (max(map(int, ground[4:-1].split(","))) < 60) == dark
            alone(page, report)

    asyncio.run(look())


def test_a_structure_turns_under_the_pointer_and_the_page_stays_still(report):
    async def look():
        async with browser() as page:
            await page.open(report.as_uri(), *WIDE)
            await page.run("document.querySelector('.suspect').scrollIntoView({ behavior: 'instant' })")
            await page.until("document.querySelector('.picture[data-drawn]') !== null")
            await page.run("document.querySelector('.turn').click()")
            box = await page.run(
                "(() => { const b = document.querySelector('.live').getBoundingClientRect(); return [b.x, b.y, b.width, b.height] })()"
            )
            assert box[2] > 200 and box[3] > 150
            clip = {"x": box[0], "y": box[1] + await page.run("scrollY"), "width": box[2], "height": box[3], "scale": 1}
            first = await page.call("Page.captureScreenshot", clip=clip)
            x, y = box[0] + box[2] / 2, box[1] + box[3] / 2
            for kind, dx, buttons in (("mousePressed", 0, 1), ("mouseMoved", 60, 1), ("mouseReleased", 60, 0)):
                await page.call(
                    "Input.dispatchMouseEvent", type=kind, x=x + dx, y=y, button="left", buttons=buttons, clickCount=1
                )
            await asyncio.sleep(0.5)
            second = await page.call("Page.captureScreenshot", clip=clip)
            assert first["data"] != second["data"]
            await page.run("document.querySelector('.turn').click()")
            assert await page.run("document.querySelector('.live')") is None
            alone(page, report)

    asyncio.run(look())


def test_filter_table_and_theme_work(report):
    async def look():
        async with browser() as page:
            await page.open(report.as_uri(), *PHONE)
            total = await page.run("document.querySelectorAll('.suspect').length")
            await page.run("document.querySelector('.chips [data-kind=forces]').click()")
            shown = await page.run("document.querySelectorAll('.suspect:not([hidden])').length")
            assert 0 < shown < total
            assert await page.run("document.querySelector('#shown').textContent") == f"{shown} shown"
            iron = "[...document.querySelectorAll('.elements button')].find((one) => one.title.startsWith('Fe,'))"
            await page.run(f"{iron}.click()")
            assert "Iron" in await page.run("document.querySelector('#element').textContent")
            assert await page.run(f"{iron}.getAttribute('aria-pressed')") == "true"
            await page.run("document.querySelector('#theme').click()")
            assert await page.run("document.documentElement.style.colorScheme") == "dark"
            alone(page, report)

    asyncio.run(look())


def test_hostile_names_do_nothing(samples, tmp_path):
    hostile = [s for s in samples("qm7")[:6]] + samples("crystals")[:2]
    for structure in hostile:
        structure.name = structure.source_file = structure.group = HOSTILE
        structure.quality = int(Flag.F_LARGE_FORCE)
        structure.info = {"said": HOSTILE}
    table = pack(hostile, {})
    write_shard(tmp_path / "part.zarr.zip", table, {})
    entry = ShardEntry.of(tmp_path, "part.zarr.zip", table)
    Manifest(name=HOSTILE, licence=HOSTILE, shards=[entry], arrays=list(table.specs.values())).write(
        tmp_path / "manifest.json"
    )
    report = tmp_path / "report.html"
    inspect_dataset(open_dataset(tmp_path), report)

    async def look():
        async with browser() as page:
            await page.open(report.as_uri(), *PHONE)
            await scrolled(page)
            assert await page.run("document.querySelectorAll('.suspect').length") == 8
            assert HOSTILE in await page.run("document.querySelector('h1').textContent")
            alone(page, report)

    asyncio.run(look())


def test_a_page_without_structures_is_quiet_too(tmp_path):
    table = pack([], {})
    write_shard(tmp_path / "part.zarr.zip", table, {})
    entry = ShardEntry.of(tmp_path, "part.zarr.zip", table)
    Manifest(shards=[entry], arrays=list(table.specs.values())).write(tmp_path / "manifest.json")
    inspect_dataset(open_dataset(tmp_path), tmp_path / "report.html")

    async def look():
        async with browser() as page:
            await page.open((tmp_path / "report.html").as_uri(), *PHONE)
            assert "0 structures" in await page.run("document.body.textContent")
            alone(page, tmp_path / "report.html")

    asyncio.run(look())
    assert np.array_equal(table.arrays["atom_offsets"], [0])
