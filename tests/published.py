"""Small versions of datasets, made of the bundled samples, as a publisher would leave them in a folder."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from mlipq.hub import Catalogue, DatasetRef
from mlipq.store import Manifest, ShardEntry, commit_json, pack, write_shard
from mlipq.store.manifest import FileEntry
from mlipq.structures import Structure


def publish_structures(
    base: Path,
    structures: Sequence[Structure],
    per_shard: int,
    ref: str = "g2-small@1.0.0",
    urls: Sequence[str] = (),
    suffix: str = ".zarr.zip",
) -> Path:
    """Write a version below ``base``; ``{file}`` in a URL becomes the shard's name. Return its folder."""
    name, version = ref.split("@")
    folder = base / name / version
    (folder / "shards").mkdir(parents=True)
    entries, specs = [], {}
    for start in range(0, len(structures), per_shard):
        table = pack(structures[start : start + per_shard], {})
        file = f"shards/part-{start // per_shard:05d}{suffix}"
        write_shard(folder / file, table, {})
        entry = ShardEntry.of(folder, file, table)
        entries.append(entry.model_copy(update={"urls": [url.format(file=file) for url in urls]}))
        specs |= table.specs
    (folder / "README.md").write_text(f"# {name}\n", encoding="utf-8")
    manifest = Manifest(
        name=name,
        version=version,
        description="Molecules for tests",
        licence="CC0-1.0",
        citation="nobody",
        shards=entries,
        arrays=list(specs.values()),
        documents=[file_entry(folder, "README.md")],
    )
    manifest.write(folder / "manifest.json")
    return folder


def file_entry(folder: Path, file: str) -> FileEntry:
    data = (folder / file).read_bytes()
    return FileEntry(file=file, bytes=len(data), sha256=hashlib.sha256(data).hexdigest())


def rewrite_manifest(folder: Path, **changes: object) -> None:
    """Change fields of a manifest, as a publisher might."""
    manifest = Manifest.read(folder / "manifest.json")
    (folder / "manifest.json").unlink()
    commit_json(folder / "manifest.json", {**manifest.model_dump(mode="json"), **changes})


def catalogue_of(*folders: Path, base_url: str = "") -> Path:
    """Write a catalogue of versions beside them; return its path."""
    catalogue = Catalogue(base_url=base_url)
    for folder in folders:
        data = (folder / "manifest.json").read_bytes()
        ref = DatasetRef.parse(f"{folder.parent.name}@{folder.name}")
        catalogue = catalogue.with_entry(ref, Manifest.parse(data, "it"), hashlib.sha256(data).hexdigest())
    path = folders[0].parents[1] / "catalogue.json"
    catalogue.write(path)
    return path


def same_files(folder: Path, published: Path) -> bool:
    """True where a pulled folder holds all files of the published one, byte by byte, and what pulling adds."""
    files = {path.relative_to(published): path.read_bytes() for path in published.rglob("*") if path.is_file()}
    found = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    found.pop(Path("pulled.json"))
    return files == found and not (folder / ".partial").exists()
