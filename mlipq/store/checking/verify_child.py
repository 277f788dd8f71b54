"""The child that opens the shards of a dataset for ``verify``: ``python -m mlipq.store.checking.verify_child``.

It answers one request a shard, then one for the whole. What is in a file may hang or crash the library that reads it, so that
the parent kills it where it takes too long, and goes on with a new one.
"""

from functools import partial
from itertools import islice
from pathlib import Path

from mlipq import process
from mlipq.errors import MlipqError
from mlipq.store.checking.checks import Whole, label_problems, table_against_entry
from mlipq.store.manifest import Manifest, ShardEntry, read_listed
from mlipq.store.shards.files import read_shard

LISTED = 20
"""Problems of one shard."""


class Checker:
    """Answers the requests; ``whole`` holds what is known of all shards so far."""

    def __init__(self) -> None:
        self.whole = Whole()

    def answer(self, request: process.Header, _: process.Arrays) -> tuple[process.Header, process.Arrays]:
        """Return the problems of a shard (``file``, ``entry`` where a manifest lists it), or of the whole (``manifest``, ``folder``)."""
        try:
            if "file" in request:
                entry = ShardEntry.model_validate_json(request["entry"]) if request["entry"] else None
                problems = self._shard(Path(request["file"]), entry)
            else:
                manifest = Manifest.parse(request["manifest"].encode(), "manifest")
                problems = list(self.whole.problems(manifest, partial(read_listed, Path(request["folder"]))))
        except MlipqError as error:
            problems = [str(error)]
        except MemoryError:
            problems = [f"{request.get('file', 'the dataset')}: it takes more memory than verify gives it"]
        return {"problems": problems}, {}

    def _shard(self, file: Path, entry: ShardEntry | None) -> list[str]:
        table = read_shard(file)
        problems = list(islice(label_problems(table), LISTED))
        if entry is not None:
            problems = [*table_against_entry(table, entry), *problems]
            self.whole.add(entry, table)
        return [f"{entry.file if entry else file.name}: {problem}" for problem in problems]


if __name__ == "__main__":
    replies = process.protect()
    process.serve({}, Checker().answer, replies)
