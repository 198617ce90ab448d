"""Find a published file, download it, and keep what was read from it.

A file is looked for in the folder that the user names, in nnrun's own cache, and where Keras keeps its files;
then it is downloaded from where it is published. A download must have the published hash, then and
whenever it is read again: a mark beside it says that nnrun put it there. A file that the user put in one of
the folders is taken as it is, and its hash recorded; one in the cache only if no other user could have
written it. Tables of CSV must have their published hash wherever they lie: there are many a titanic.csv.

Token lists take a second to read out of a pickle. They are kept as plain arrays in the cache, named by the
hash of the file they came from, and so the hash is computed at each start: 17 MB take 15 ms, and no change of
the file is missed.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urljoin

import numpy as np

from nnrun.data.cache_entry import OnMessage, folder_beside, keep_entry, load_entry
from nnrun.data.dataset import TokenRows
from nnrun.errors import DataError
from nnrun.paths import cache_dir, distrust_entry, make_private

if TYPE_CHECKING:
    import requests

BASE_URL: Final = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"
REQUIRED_SCHEME = "https://"
TIMEOUT_SECONDS: Final = 10
MAX_DOWNLOAD = 200 * 2**20  # bytes; the largest published file has 17 million
_FORMAT = "v2"


@dataclass(frozen=True)
class RemoteFile:
    """A published file.

    Attributes:
        name: its name, there and here.
        algorithm: `sha256`, or `md5` where nothing better is published.
        digest: its published hash.
        folder: where it is kept below the folder of data sets; empty for that folder itself.
        url: where it is published; empty for the files of Keras.
        size: its bytes, where they are known.
        exact: whether a file of another hash is not taken, wherever it lies.
    """

    name: str
    algorithm: str
    digest: str
    folder: str = ""
    url: str = ""
    size: int | None = None
    exact: bool = False

    @property
    def address(self) -> str:
        """Where it is downloaded from."""
        return self.url or BASE_URL + self.name

    def places(self, folder: Path) -> tuple[Path, ...]:
        """Where it may lie in a folder of data sets; if only its hash counts, right in that folder too."""
        kept = folder / self.folder / self.name
        return (kept, folder / self.name) if self.exact and self.folder else (kept,)


IMDB = RemoteFile("imdb.npz", "sha256", "69664113be75683a8fe16e3ed0ab59fda8886cb3cd7ada244f7d9544e4676b9f")
REUTERS = RemoteFile(
    "reuters.npz", "sha256", "d6586e694ee56d7a4e65172e12b3e987c03096cb01eab99753921ef915959916"
)
IMDB_WORDS = RemoteFile("imdb_word_index.json", "md5", "bfafd718b763782e994055a2d397834f")
REUTERS_WORDS = RemoteFile("reuters_word_index.json", "md5", "4d44cc38712099c9e383dc6e5f11a921")


MNIST = RemoteFile("mnist.npz", "sha256", "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1")
_FASHION = "fashion-mnist"
# Zalando publishes these hashes with its files, which Keras distributes unchanged and without hashes.
FASHION_MNIST = (
    RemoteFile("train-images-idx3-ubyte.gz", "md5", "8d4fb7e6c68d591d4c3dfef9ec88bf0d", _FASHION),
    RemoteFile("train-labels-idx1-ubyte.gz", "md5", "25c81989df183df01b3e8a0aad5dffbe", _FASHION),
    RemoteFile("t10k-images-idx3-ubyte.gz", "md5", "bef4ecab320f06d8554ea6380940ec79", _FASHION),
    RemoteFile("t10k-labels-idx1-ubyte.gz", "md5", "bb300cfdad3c16e7a12a480ee83cd310", _FASHION),
)


def _table(url: str, size: int, sha256: str) -> RemoteFile:
    """A published table of CSV."""
    return RemoteFile(url.rpartition("/")[2], "sha256", sha256, "tables", url, size, exact=True)


# By the kind of the data set.
PUBLISHED_TABLES: Final = {
    "penguins": _table(
        "https://raw.githubusercontent.com/mwaskom/seaborn-data/master/penguins.csv",
        13_478,
        "e07636bd8af74260099ea2f8678e2eabbf35def579940cc76f67061ee16c06c1",
    ),
    "titanic": _table(
        "https://raw.githubusercontent.com/pandas-dev/pandas/"
        "3106d68bee33c160adbc9322a523dab600a81a73/doc/data/titanic.csv",
        60_080,
        "cd888141e6a2ca5906114d0b6a63d8a3e14edb3326f7bdd56327d14646b68c36",
    ),
}


def search_folders(data_dir: Path | None) -> tuple[Path, ...]:
    """Where a published file is looked for, in this order."""
    own = (data_dir.expanduser(),) if data_dir is not None else ()
    return (*own, cache_dir(), Path("~/.keras/datasets").expanduser())


def find(remote: RemoteFile, data_dir: Path | None) -> Path | None:
    """The file, where it is on this machine already."""
    for folder in search_folders(data_dir):
        for path in remote.places(folder):
            if not path.exists() or (remote.exact and not is_published(remote, path)):
                continue
            if folder != cache_dir() or _why_unusable(remote, path) is None:
                return path
    return None


def other_files(remote: RemoteFile, data_dir: Path | None) -> list[Path]:
    """Files of the name, the published one or not: where `find` finds none, they are not."""
    folders = [folder for folder in search_folders(data_dir) if folder != cache_dir()]
    return [path for folder in folders for path in remote.places(folder) if remote.exact and path.exists()]


def _why_unusable(remote: RemoteFile, path: Path) -> str | None:
    """Why a file of the cache is not taken, as the end of a sentence; None where it is."""
    distrusted = distrust_entry(path)
    if (distrusted is None and not _mark_of(path).exists()) or is_published(remote, path):
        return None
    return distrusted or "it is damaged: its hash is no longer the published one"


def _mark_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.downloaded")


def fetch(
    remote: RemoteFile,
    data_dir: Path | None,
    on_message: OnMessage = lambda text: None,
    *,
    base_url: str | None = None,
    timeout: float = TIMEOUT_SECONDS,
) -> Path:
    """The file, downloaded if it is nowhere on this machine.

    Raises:
        DataError: it is not here and could not be had: says where it is, its hash, and the folder to put it
            in.
    """
    if (found := find(remote, data_dir)) is not None:
        return found
    kept = cache_dir() / remote.folder / remote.name
    if kept.exists() and (why := _why_unusable(remote, kept)) is not None:
        on_message(f"{kept} cannot be used ({why})")
    for other in other_files(remote, data_dir):
        on_message(
            f"{other} is not used: its SHA-256 is not that of the published {remote.name}. A table of your "
            "own is `dataset: {csv: {path: ..., target: ...}}`"
        )
    url = remote.address if base_url is None else base_url + remote.name
    return _download(remote, data_dir, on_message, url, timeout)


def is_published(remote: RemoteFile, path: Path) -> bool:
    """Whether the file at `path` has the published hash."""
    digest = hashlib.new(remote.algorithm, usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest() == remote.digest


def _download(
    remote: RemoteFile, data_dir: Path | None, on_message: OnMessage, url: str, timeout: float
) -> Path:
    import logging

    import pooch
    import requests

    if not url.startswith(REQUIRED_SCHEME):
        raise DataError(f"{url} is not https; nothing was downloaded.")
    folder = cache_dir() / remote.folder
    pooch.get_logger().setLevel(logging.ERROR)  # what happens is said here
    on_message(f"downloading {url}")
    try:
        path = pooch.retrieve(
            url,
            known_hash=f"{remote.algorithm}:{remote.digest}",
            fname=remote.name,
            path=folder,
            downloader=lambda url, file, _: _get(url, Path(file), timeout),
        )
    except requests.exceptions.RequestException as error:
        reason = f"the download failed: {_network_reason(error)}"
    except _Refused as error:
        reason = str(error)
    except ValueError:
        reason = "what was downloaded does not have the published hash, and was deleted"
    except OSError as error:
        reason = f"{folder} cannot be written: {error.strerror or error}"
    else:
        with contextlib.suppress(OSError):
            make_private(Path(path))
            _mark_of(Path(path)).touch()
        return Path(path)
    raise DataError(
        f"{remote.name} is not on this machine, and {reason}.\n{how_to_get(remote, data_dir, url)}"
    )


class _Refused(Exception):
    """A download was given up; the text says why, as the end of a sentence."""


def _get(url: str, target: Path, timeout: float) -> None:
    """Download to a file: over https all the way, and no more than any published file holds."""
    import requests

    hooks = {"response": _refuse_other_schemes}
    with requests.get(url, stream=True, timeout=timeout, hooks=hooks) as answer, target.open("wb") as file:
        answer.raise_for_status()
        for block in answer.iter_content(1 << 16):
            file.write(block)
            if file.tell() > MAX_DOWNLOAD:
                raise _Refused(f"the download was stopped after {MAX_DOWNLOAD:,} bytes: it is not that file")


def _refuse_other_schemes(answer: requests.Response, *args: object, **named: object) -> None:
    """Give up before a redirect is followed that leaves https. Asked for each answer on the way."""
    target = urljoin(answer.url, answer.headers.get("location", ""))
    if answer.is_redirect and not target.startswith(REQUIRED_SCHEME):
        raise _Refused("the server redirects to an address that is not https; nothing was downloaded")


def how_to_get(remote: RemoteFile, data_dir: Path | None, url: str | None = None) -> str:
    """Where a published file is, its hash, and the folders to put it in: lines for a message."""
    looked = "\n".join(f"    {place / remote.folder}" for place in search_folders(data_dir))
    known = f"{remote.algorithm.upper().replace('SHA256', 'SHA-256')} {remote.digest}"
    if remote.size is not None:
        known = f"{remote.size:,} bytes, {known}"
    return (
        f"  Get it from {url or remote.address}\n"
        f"  ({known}) and put it in one of these folders:\n{looked}\n"
        f"  or name the folder that holds {f'the folder {remote.folder}' if remote.folder else 'it'} with "
        "--data-dir."
    )


def _network_reason(error: Exception) -> str:
    import requests

    if isinstance(error, requests.exceptions.HTTPError) and error.response is not None:
        return f"the server answered {error.response.status_code}"
    if isinstance(error, requests.exceptions.Timeout):
        return "the server did not answer in time"
    if isinstance(error, requests.exceptions.SSLError):
        return "the server's certificate could not be verified"
    if isinstance(error, requests.exceptions.ConnectionError):
        return "the server cannot be reached"
    return type(error).__name__


# --- token rows that were read before ----------------------------------------------------------------------


def cached_tokens(
    sha256: str, name: str, read: Callable[[], TokenRows], on_message: OnMessage = lambda text: None
) -> TokenRows:
    """The token rows of array `name` in the file with this hash: from the cache, else read and kept there.

    A damaged entry is reported and written again. Without a writable cache all works, only slower.
    """
    entry = cache_dir() / "parsed" / f"{sha256}-{name}-{_FORMAT}"

    def load(document: object) -> TokenRows:
        indptr, tokens = np.load(entry / "indptr.npy"), np.load(entry / "tokens.npy")
        if indptr.dtype != np.int64 or tokens.dtype != np.int32 or indptr.ndim != 1 or tokens.ndim != 1:
            raise ValueError("its arrays have the wrong type")
        if not len(indptr) or indptr[0] != 0 or indptr[-1] != len(tokens) or (np.diff(indptr) < 0).any():
            raise ValueError("its rows do not fit its tokens")
        if len(tokens) and tokens.min() < 0:
            raise ValueError("it holds negative tokens")
        return TokenRows(indptr, tokens)

    known = load_entry(entry, load, on_message, f"reading {name} from its source again")
    if known is not None:
        return known
    rows = read()
    try:
        with folder_beside(entry) as folder:
            np.save(folder / "indptr.npy", rows.indptr)
            np.save(folder / "tokens.npy", rows.tokens)
            keep_entry(folder, entry, None)
    except OSError as error:
        on_message(
            f"{entry.parent} cannot be written ({error.strerror or error}); reading will be slow next time "
            "too"
        )
    return rows


def through_cache(sha256: str, on_message: OnMessage) -> Callable[[str, Callable[[], TokenRows]], TokenRows]:
    """`cached_tokens` for the file with this hash, as `Archive.read` takes it."""
    return lambda name, read: cached_tokens(sha256, name, read, on_message)
