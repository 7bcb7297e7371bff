"""Reading and writing files: errors name the file, and no half-written one ever stands under its final name."""

from __future__ import annotations

import csv
import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nnunet_pix2rep.errors import UserError

MAX_NAME_BYTES = 255  # of all common file systems
MAX_STEM_BYTES = 200
FULL_BELOW_BYTES = 2**16

_FULL = "There is no space left for {path}. Make room, or write to another disk."
_DENIED = "This user is not permitted to read or write {path}. Change its permissions, or choose another place."
_IN_THE_WAY = "{path} is a file where a folder should be. Move it away, or choose another place."
_REASONS = {
    errno.EACCES: _DENIED,
    errno.EPERM: _DENIED,
    errno.EROFS: "{path} lies on a read-only file system. Choose another place.",
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.ENOTDIR: _IN_THE_WAY,
    errno.EEXIST: _IN_THE_WAY,
    errno.EISDIR: "{path} is a folder where a file should be. Move it away, or choose another name.",
    errno.ENAMETOOLONG: "The name {path} is too long for the file system. Choose a shorter one.",
}


@contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[Path]:
    """Yields a temporary path beside ``path`` that replaces it when the block ends well, and vanishes when it does not.

    The temporary name keeps the suffixes of ``path``, since many writers choose the format by them. The file has the
    mode that the umask gives; where the block puts a link in its place, the mode of the other file stays as it is.

    Raises:
        OSError: it cannot be written; ``filename`` is ``path``, also where a library's writer ran out of space.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with _errors_name(path):
        suffix = "".join(path.suffixes[-2:])
        stem = path.name.removesuffix(suffix)
        # a name that is nearly too long for the file system would be too long with what mkstemp adds
        prefix = f".{stem}." if len(os.fsencode(stem)) <= MAX_STEM_BYTES else "."
        handle, name = tempfile.mkstemp(prefix=prefix, suffix=suffix, dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            # mkstemp makes files private to their owner; a result file follows the user's umask like any other.
            # Set before the block runs: it may put a link here, and the mode of another file is not ours to change.
            umask = os.umask(0)
            os.umask(umask)
            temporary.chmod(0o666 & ~umask)
            with space_errors(path):
                yield temporary
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def _errors_name(path: Path) -> Iterator[None]:
    """Makes errors about a temporary file beside ``path`` name ``path``."""
    try:
        yield
    except OSError as error:
        if error.errno is None:  # a message of a library, which says more than a number
            raise
        # mkstemp's names are absolute and without "..", whatever path is
        if error.filename is None or Path(os.fsdecode(error.filename)).parent.resolve() == path.parent.resolve():
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


@contextmanager
def space_errors(path: Path) -> Iterator[None]:
    """Turns a library's RuntimeError into an OSError where the disk of ``path`` is full: torch, ITK and Blosc do so."""
    try:
        yield
    except RuntimeError as error:
        if shutil.disk_usage(path.parent).free < FULL_BELOW_BYTES:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
        raise


def require_writable(path: str | os.PathLike) -> None:
    """Raises an OSError where ``path`` cannot be made: before work of hours is done that could not be saved."""
    path = Path(path).absolute()
    existing = path if path.exists() else next(parent for parent in path.parents if parent.exists())
    if existing != path and not existing.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(existing))
    if len(os.fsencode(path.name)) > MAX_NAME_BYTES:
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), str(path))
    place = existing if existing.is_dir() else existing.parent
    if not os.access(place, os.W_OK | os.X_OK):
        read_only = hasattr(os, "statvfs") and os.statvfs(place).f_flag & os.ST_RDONLY
        number = errno.EROFS if read_only else errno.EACCES
        raise OSError(number, os.strerror(number), str(place))


def check_target(target: Path, overwrite: bool, example: str, source: Path | None = None) -> Path:
    """Checks the file that a command is to write, before work of hours is done.

    Args:
        target: What the option ``-o`` names.
        overwrite: Whether an existing file may be replaced.
        example: A name for such a file, for the message.
        source: A file that must not be overwritten.

    Returns:
        The file to write: with a symbolic link the one that it leads to. :func:`atomic_path` would put a file in the
        place of the link, and whoever reads the other file would go on with an old one.

    Raises:
        UserError: a file would be overwritten unasked, or the source itself, or the target is a folder.
    """
    if target.is_dir():
        raise UserError(f"-o {target} is a folder. Name a file, such as {target / example}.")
    if source is not None and target.exists() and source.exists() and target.samefile(source):
        raise UserError(f"-o {target} is the source itself. Name another file.")
    if target.exists() and not overwrite:
        raise UserError(f"{target} exists. Choose another name with -o, or replace it with --overwrite.")
    return target.resolve() if target.is_symlink() else target


def describe_os_error(error: OSError) -> str | None:
    """One sentence about an error that the user can correct, with the path if it is known; None for other errors."""
    if error.errno not in _REASONS:
        return None
    if error.filename is None:  # of a stream, or of a library's temporary file
        is_full = _REASONS[error.errno] == _FULL
        return _FULL.format(path="the output or for a temporary file") if is_full else None
    path = Path(os.fsdecode(error.filename))
    if error.errno in (errno.ENOTDIR, errno.EEXIST):
        in_the_way = [part for part in (*reversed(path.parents), path) if part.exists() and not part.is_dir()]
        if not in_the_way:
            return None
        path = in_the_way[0]
    return _REASONS[error.errno].format(path=path)


def checksum(file: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal digits."""
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def write_json(content: Any, path: str | os.PathLike) -> None:
    """Writes ``content`` as indented JSON, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=4) + "\n", encoding="utf-8")


def read_json(path: str | os.PathLike) -> Any:
    """Reads a JSON file.

    Raises:
        UserError: the file is missing or not valid JSON; the message names it.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} does not exist.") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid JSON: {error}") from error


def read_csv_rows(path: str | os.PathLike, columns: Sequence[str], remedy: str) -> list[dict[str, str]]:
    """Reads the rows of a CSV file that are not blank, all values stripped.

    Args:
        path: The file; a spreadsheet's byte order mark is skipped.
        columns: The columns that the file must have.
        remedy: A sentence that says what to do where the file is missing.

    Raises:
        UserError: the file is missing, is not UTF-8, or lacks one of the columns.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path} does not exist. {remedy}")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            names = [(name or "").strip() for name in reader.fieldnames or []]
            missing = [column for column in columns if column not in names]
            if missing:
                raise UserError(f"{path} has no column {missing[0]!r}, only {', '.join(filter(None, names))}.")
            reader.fieldnames = names
            rows = [
                {key: (value or "").strip() for key, value in row.items() if isinstance(key, str)} for row in reader
            ]
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text: {error}. Save it as CSV with UTF-8.") from error
    return [row for row in rows if any(row[column] for column in columns)]
