"""MkDocs hook: pages from elsewhere in the repository, and the parts of pages that are made from code and measurements.

A line ``<!-- generated: NAME ARGUMENTS -->`` in a page is replaced by what :data:`GENERATORS` makes of it.
"""

import posixpath
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import campaign_report
import command_line
import manifest_page
import mode_table
import results
import schema_tables
import settings_tables
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]

ADOPTED = {
    "pipelines/README.md": "jobs/README.md",
    "pipelines/label-folder.yaml": "jobs/label-folder.yaml",
    "pipelines/qm7-reference.yaml": "jobs/qm7-reference.yaml",
    "pipelines/qm7-pbe.yaml": "jobs/qm7-pbe.yaml",
    **{
        f"pipelines/clusters/{name}.yaml": f"jobs/clusters/{name}.yaml"
        for name in ("local", "slurm", "pbs", "ssh", "scheduler")
    },
    "benchmarks/labeling/README.md": "evidence/benchmark-labeling.md",
    "benchmarks/storage/README.md": "evidence/benchmark-storage.md",
    "benchmarks/labeling/RESULTS.md": "evidence/real-runs.md",
    "benchmarks/training/README.md": "evidence/benchmark-training.md",
    "benchmarks/training/RESULTS.md": "evidence/campaign.md",
    "tests/oracles/README.md": "evidence/oracles.md",
    "tests/fuzz/README.md": "evidence/fuzzing.md",
    "datasets/samples/README.md": "evidence/samples.md",
}
"""Files that stand where they are used, and are shown on the site too."""

GENERATORS: dict[str, Callable[..., str]] = {
    "arrays": schema_tables.arrays,
    "moments": schema_tables.moments,
    "flags": schema_tables.flags,
    "shells": schema_tables.shells,
    "verbs": command_line.verbs,
    "results": results.section,
    "settings": settings_tables.settings,
    "presets": settings_tables.presets,
    "modes": mode_table.modes,
    "tolerances": manifest_page.tolerances,
}

_MARKER = re.compile(r"^<!-- generated: (.+?) -->$", re.MULTILINE)
_LINK = re.compile(r"\[(?P<text>[^\]]*)\]\((?!\w+:|#)(?P<file>[^)\s#]+)(?P<anchor>#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the adopted files, the JSON Schema of the manifest, and the report of the campaign."""
    files.append(File.generated(config, "manifest.schema.json", content=manifest_page.json_schema()))
    files.append(File.generated(config, "evidence/campaign-report.html", content=campaign_report.page()))
    for path, shown_as in ADOPTED.items():
        files.append(File.generated(config, shown_as, abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Fill in what is generated, and turn links between files of the repository into links between pages."""
    markdown = _MARKER.sub(_generated, markdown)
    homes = {shown_as: path for path, shown_as in ADOPTED.items()}
    source = homes.get(page.file.src_uri, f"docs/{page.file.src_uri}")
    return _LINK.sub(lambda link: _relinked(link, source, page.file.src_uri), markdown)


def _generated(marker: re.Match[str]) -> str:
    name, *arguments = shlex.split(marker[1])
    return GENERATORS[name](*arguments)


def _relinked(link: re.Match[str], source: str, page: str) -> str:
    """Rewrite a link of a file of the repository for the page that shows it; of a file that no page shows, keep the text."""
    target = posixpath.normpath(posixpath.join(posixpath.dirname(source), link["file"]))
    if target not in ADOPTED and not target.startswith("docs/") and (ROOT / target).exists():
        return link["text"]
    shown_as = ADOPTED.get(target, target.removeprefix("docs/"))
    return f"[{link['text']}]({posixpath.relpath(shown_as, posixpath.dirname(page) or '.')}{link['anchor'] or ''})"
