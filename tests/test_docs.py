"""The documentation is true: its commands and Python run, print what it says, and the site builds without a warning."""

import doctest
import importlib
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from unittest.mock import patch

import pytest
from ase.data import atomic_numbers

from benchmarks.harness import write_results
from mlipq import schema

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"

GUIDES = [
    "index.md",
    "datasets.md",
    "labeling.md",
    "array-jobs.md",
    "running-scheduler.md",
    "dft.md",
    "new-structures.md",
    "inspect.md",
    "reading.md",
    "publishing.md",
    "training.md",
    "inference.md",
    "bench.md",
    "schema.md",
    "formats.md",
]
CHECK = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
FENCE = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block: commands (``console``), Python (``pycon``), or, with a title, a file of that name."""

    where: str
    language: str
    title: str | None
    text: str


def blocks_of(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    for found in FENCE.finditer(text):
        line = text.count("\n", 0, found.start()) + 1
        yield Block(f"{page.name}:{line}", found[1], found[2], found[3])


def run_commands(block: Block, environment: dict[str, str]) -> Iterator[str]:
    """Run each ``$ command``, with the lines that its backslashes continue, and compare what it prints with the lines below it; yield what differs."""
    for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        command, _, expected = part.replace("\\\n", "").partition("\n")
        done = subprocess.run(["bash", "-c", command], env=environment, capture_output=True, text=True, timeout=120)
        printed = done.stderr + done.stdout
        if done.returncode != 0 or not doctest.OutputChecker().check_output(expected, printed, CHECK):
            yield f"{block.where}: $ {command}\nthe page says\n{expected}\nexit code {done.returncode}, printed\n{printed}"


def run_python(block: Block, names: dict[str, object]) -> Iterator[str]:
    """Run a block as at Python's prompt; yield what differs. The blocks of a page share their names."""
    test = doctest.DocTestParser().get_doctest(block.text, names, block.where, block.where, 0)
    differing: list[str] = []
    doctest.DocTestRunner(verbose=False, optionflags=CHECK).run(test, out=differing.append, clear_globs=False)
    names.update(test.globs)
    yield from differing


@pytest.mark.parametrize("guide", GUIDES)
def test_what_a_guide_shows_is_what_happens(guide, tmp_path, monkeypatch):
    follow(guide, tmp_path, monkeypatch)


def follow(guide: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Do what a page of the documentation does, in an empty folder; fail with all that differs."""
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    monkeypatch.setenv("MLIPQ_CACHE", str(folder / "cache"))
    for linked in ("datasets", "pipelines"):  # as in a checkout
        Path(linked).symlink_to(ROOT / linked)
    environment = {**os.environ, "PATH": path, "COLUMNS": "200"}
    names: dict[str, object] = {}
    problems: list[str] = []
    with patch.dict(os.environ):  # what a page sets there is for that page
        for block in blocks_of(DOCS / guide):
            if block.title:
                Path(block.title).write_text(block.text, encoding="utf-8")
            elif block.language == "console":
                problems += run_commands(block, environment)
            elif block.language == "pycon":
                problems += run_python(block, names)
    if problems:
        pytest.fail("\n".join(problems), pytrace=False)


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> dict[str, str]:
    """The built site: the text of each of its pages and style sheets by name."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    files = [*folder.rglob("*.html"), *folder.rglob("*.css")]
    return {path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8") for path in files}


class Loaded(HTMLParser):
    """Collects what a browser fetches for a page without being asked to."""

    ATTRIBUTES = {"script": "src", "link": "href", "img": "src", "iframe": "src", "source": "src"}

    def __init__(self, page: str) -> None:
        super().__init__()
        self.urls: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        url = dict(attrs).get(self.ATTRIBUTES.get(tag, ""))
        if url is not None:
            self.urls.append(url)


def test_no_page_asks_another_host_for_anything(site):
    for name, text in site.items():
        found = re.findall(r"url\(([^)]*)\)|@import\s+(\S+)", text) if name.endswith(".css") else []
        urls = [url.strip("'\"") for pair in found for url in pair] + Loaded(text).urls
        assert not [url for url in urls if re.match(r"(https?:)?//", url)], name


def test_every_page_of_the_guide_is_there_and_no_markup_is_left_over(site):
    pages = [page.relative_to(DOCS).with_suffix(".html").as_posix() for page in DOCS.glob("*.md")]
    assert set(pages) <= set(site)
    for name in (*pages, "evidence/oracles.html", "jobs/index.html"):
        text = re.sub(r"<[^>]+>", "", site[name])
        assert not re.findall(r":(?:class|func|meth|data|mod|attr):|<!-- generated|\[\w+\]\[\]", text), name


def test_the_schema_page_has_every_array_flag_and_element(site):
    cells = [
        re.sub(r"<[^>]+>", "", cell) for cell in re.findall(r"<td[^>]*>(.*?)</td>", site["schema.html"], re.DOTALL)
    ]
    assert {*schema.KNOWN_ARRAYS, *schema.MOMENT_SLICES, *(flag.name for flag in schema.Flag)} <= set(cells)
    for shells in ("s", "s, p", "s, p, d"):
        elements = cells[cells.index(shells) + 1].split()
        assert {schema.gfn1_shells(atomic_numbers[element]) for element in elements} == {shells.replace(", ", "")}


def test_the_table_of_flags_in_the_checks_is_that_of_the_schema():
    rows = re.findall(
        r"^\| (\d+) \| `(F_\w+)` \| (.+) \|$", (DOCS / "checks.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert [(1 << int(bit), name, what) for bit, name, what in rows] == [
        (flag.value, flag.name, what) for flag, what in schema.flag_meanings().items()
    ]


@pytest.fixture
def hooks(monkeypatch) -> Callable[[str], ModuleType]:
    """Import a module that makes parts of pages."""
    monkeypatch.syspath_prepend(str(DOCS / "hooks"))
    return importlib.import_module


def test_results_become_bars_a_table_and_the_command(hooks, monkeypatch, tmp_path):
    results = hooks("results")
    monkeypatch.setattr(results, "BENCHMARKS", tmp_path)
    slow, fast = ({"median": m, "least": 0.5 * m, "most": 2 * m, "repeats": 3} for m in (4.0, 1.0))
    rows = [
        {"contestant": "a_peer", "what": "loops <once>", "wall_s": slow, "bytes_per_atom": 1234},
        {"contestant": "mlipq", "wall_s": fast, "bytes_per_atom": None},
    ]
    write_results(tmp_path / "area" / "results" / "it.json", "it", {"workers": 2}, {"ase": "3"}, rows)
    svg, _, table, _, conditions = results.section("area/it", "bars=wall_s").split("\n\n", 4)
    assert re.findall(r'<rect [^>]*width="([\d.]+)%"', svg) == ["50.00", "12.50"]  # of the longest whisker
    assert "a peer 4; mlipq 1" in svg
    assert table.splitlines() == [
        "|  | wall, s | bytes per atom |",
        "| --- | --- | --- |",
        "| **a peer**<br><small>loops &lt;once&gt;</small> | 4<br><small>2 – 8</small> | 1,234 |",
        "| **mlipq** | 1<br><small>0.5 – 2</small> | – |",
    ]
    assert "**Workers**: 2" in conditions
    assert "**Versions**: ase 3" in conditions
