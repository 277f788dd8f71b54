"""Publishing to the Hugging Face hub: a version is one commit of a dataset repository, and a tag.

A version is visible once its tag is there, which is set after all files of the commit were read back. Tested against a server that
stands in for the hub; not run against the hub itself.
"""

import hashlib
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import (
    EntryNotFoundError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from mlipq.errors import CheckError, IncompleteError, InputError, MlipqError
from mlipq.hub.publishing.targets import OURS, Target, versions_among
from mlipq.hub.refs import DatasetRef, Version
from mlipq.store.manifest import MANIFEST, FileEntry

_URL = re.compile(r"hf://datasets/(?P<repository>[^/@]+/(?P<name>[^/@]+))/?")
_NO_RIGHT = (401, 403)
_KIND = "dataset"


class HuggingFaceTarget(Target):
    """A repository that holds one dataset; the token is that of ``HF_TOKEN``, or of ``hf auth login``.

    Parameters
    ----------
    url
        ``hf://datasets/<organisation>/<name>``.
    ref
        Name and version.

    Raises
    ------
    InputError
        If the repository is called otherwise than the dataset.
    """

    def __init__(self, url: str, ref: DatasetRef) -> None:
        found = _URL.fullmatch(url)
        if found is None or found["name"] != ref.name:
            raise InputError(f"{url}: expected hf://datasets/<organisation>/{ref.name}, the repository of this dataset")
        self._repository = found["repository"]
        self._tag = str(ref.version)
        self._api = HfApi(endpoint=os.environ.get("HF_ENDPOINT"))
        self._additions: dict[str, CommitOperationAdd] = {}
        self._hashes: dict[str, str] = {}
        self.where = f"hf://datasets/{self._repository}@{self._tag}"

    def manifest(self) -> bytes | None:
        """Return the version's manifest, ``None`` where there is no such tag."""
        return self._read(MANIFEST, self._tag)

    def versions(self) -> list[Version]:
        """Return all versions by their tags."""
        with self._told():
            try:
                refs = self._api.list_repo_refs(self._repository, repo_type=_KIND)
            except RepositoryNotFoundError:
                return []
        return versions_among(tag.name for tag in refs.tags)

    def manifest_of(self, version: Version) -> str:
        """Return the URL of another version's manifest."""
        return f"hf://datasets/{self._repository}@{version}/{MANIFEST}"

    def put(self, entry: FileEntry, source: Path) -> bool:
        """Upload a file for the commit, unless the hub has its content; it is read back in :meth:`finish`."""
        with self._told():
            if not self._additions:
                self._api.create_repo(self._repository, repo_type=_KIND, exist_ok=True)
            self._add(entry.file, source.read_bytes(), entry.sha256)
        return True

    def finish(self, manifest: bytes, files: set[str]) -> None:
        """Make the commit, read every file of it back, and set the tag (see :meth:`Target.finish`)."""
        with self._told():
            commit = self._head()
            if commit is None or self._read(MANIFEST, commit) != manifest:  # else only the tag was missing
                self._add(MANIFEST, manifest, hashlib.sha256(manifest).hexdigest())
                commit = self._commit(commit, files)
            for file, sha256 in self._hashes.items():
                self._check(file, sha256, commit)
            try:
                self._api.create_tag(self._repository, tag=self._tag, revision=commit, repo_type=_KIND, exist_ok=False)
            except HfHubHTTPError as error:
                if error.response is not None and error.response.status_code == 409:
                    raise InputError(f"{self.where}: another publisher was faster; choose the next version") from None
                raise

    def _add(self, file: str, data: bytes, sha256: str) -> None:
        addition = CommitOperationAdd(path_in_repo=file, path_or_fileobj=data)
        self._api.preupload_lfs_files(self._repository, [addition], repo_type=_KIND)  # frees the data of a large file
        self._additions[file] = addition
        self._hashes[file] = sha256

    def _commit(self, parent: str | None, files: set[str]) -> str:
        """Commit all files, without those of the version before; return the commit's hash."""
        there = self._api.list_repo_files(self._repository, repo_type=_KIND)
        gone = [file for file in there if OURS.fullmatch(file) and file not in files]
        operations: list[CommitOperationAdd | CommitOperationDelete] = [
            *self._additions.values(),
            *(CommitOperationDelete(path_in_repo=file) for file in gone),
        ]
        made = self._api.create_commit(
            self._repository, operations, commit_message=f"Version {self._tag}", repo_type=_KIND, parent_commit=parent
        )
        return str(made.oid)

    def _head(self) -> str | None:
        return self._api.repo_info(self._repository, repo_type=_KIND).sha

    def _check(self, file: str, expected: str, commit: str) -> None:
        data = self._read(file, commit)
        found = "nothing" if data is None else hashlib.sha256(data).hexdigest()
        if found != expected:
            raise CheckError(
                f"{self.where}: {file} was uploaded and read back: expected sha256 {expected[:16]}…, found {found[:16]}…; "
                "no tag was set. Run the same command again"
            )

    def _read(self, file: str, revision: str) -> bytes | None:
        """Return a file at a revision, ``None`` where there is none."""
        with self._told(), tempfile.TemporaryDirectory(prefix="mlipq-publish-") as folder:
            try:
                path = self._api.hf_hub_download(
                    self._repository, file, repo_type=_KIND, revision=revision, local_dir=folder
                )
            except (EntryNotFoundError, RevisionNotFoundError, RepositoryNotFoundError):
                return None
            return Path(path).read_bytes()

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Name the repository in what goes wrong there."""
        try:
            yield
        except MlipqError:
            raise
        except HfHubHTTPError as error:
            code = error.response.status_code if error.response is not None else None
            if code in _NO_RIGHT:
                raise InputError(
                    f"{self.where}: the hub refused (HTTP {code}); set HF_TOKEN to a token that may write there"
                ) from None
            raise IncompleteError(f"{self.where}: {error}. Run the same command again to go on") from None
        except Exception as error:  # connections fail in many ways
            raise IncompleteError(
                f"{self.where}: {type(error).__name__}: {error}. Run the same command again to go on"
            ) from None
