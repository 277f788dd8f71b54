"""What planning keeps beside the partitions: the structures that it left out."""

import json
import os
from collections import Counter
from pathlib import Path
from typing import TextIO

from mlipq.labeling.folder import Duplicate
from mlipq.store.failures import Failure
from mlipq.store.seen import First, full_disk_told
from mlipq.structures import Rejected, Structure


class Ledgers:
    """The structures that are not labelled: refused in reading, or met before."""

    def __init__(self, stage: Path) -> None:
        self.counts: Counter[str] = Counter(
            read=0, rejected=0, duplicates=0, conflicts=0, charge_default=0, spin_default=0
        )
        self._stage = stage
        with full_disk_told(stage):
            self._rejected, self._duplicates = (
                (stage / name).open("w", encoding="utf-8") for name in ("rejected.jsonl", "duplicates.jsonl")
            )

    def reject(self, item: Rejected) -> None:
        self.counts["rejected"] += 1
        self._write(self._rejected, Failure.of(item))

    def duplicate(self, identity: bytes, item: Structure, first: First) -> None:
        self.counts["duplicates"] += 1
        self.counts["conflicts"] += bool(first.differing)
        row = Duplicate(
            identity=identity.hex(),
            source_file=item.source_file,
            source_index=item.source_index,
            first_source_file=first.source_file,
            first_source_index=first.source_index,
            conflict="; ".join(first.differing),
        )
        self._write(self._duplicates, row)

    def _write(self, file: TextIO, row: Failure | Duplicate) -> None:
        with full_disk_told(self._stage):
            file.write(json.dumps(row.model_dump()) + "\n")  # ASCII: whatever a file's names hold comes back as it was

    def __enter__(self) -> "Ledgers":
        return self

    def __exit__(self, *_: object) -> None:
        with full_disk_told(self._stage):
            for file in (self._rejected, self._duplicates):
                file.flush()
                os.fsync(file.fileno())
                file.close()
