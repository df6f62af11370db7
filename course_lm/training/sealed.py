"""A file of tensors that is there whole or not at all, and that tells when a byte has changed.

The format is safetensors, with a JSON text in the header: numbers and names, no code, so that
reading a file that somebody else wrote runs nothing. A sha256 covers every byte of the file. It
is written beside its place, forced to disk and then renamed (POSIX: a rename is all or nothing), so
that a full disk, a power cut or a killed process leave the old file or the new one.
"""

import contextlib
import hashlib
import json
import os
import re
import secrets
import time
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

FORMAT = 1
OPEN = "0" * 64  # stands in the place of the checksum while it is computed
SEAL = re.compile(rb'\\"sha256\\": \\"([0-9a-f]{64})\\", \\"bytes\\": (\d+)')
DRAFT = ".course_lm-{}.draft"
FORGOTTEN = 3600  # seconds after which a draft belongs to a process that was killed


def write(path: Path, tensors: dict[str, Tensor], about: dict[str, Any]) -> Path:
    """Put tensors and JSON values at `path`, in one step that cannot be seen half done; `path`.

    Raises ValueError for numbers that are not finite and values that JSON has no form for, and
    OSError where the file cannot be written; what stood at `path` stays, and no draft is left.
    """
    data = _sealed(tensors, about)
    draft = path.parent / DRAFT.format(secrets.token_hex(8))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _drop_forgotten(path.parent)
        with open(draft, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
        if not isinstance(error, OSError):
            raise
        raise type(error)(
            f"checkpoint: expected to write {len(data):,} bytes to {path}, got "
            f"{error.strerror!r}; make room or save elsewhere; what stood there is untouched"
        ) from None
    sync_folder(path.parent)
    return path


def read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The JSON values and the tensors of a file that `write` wrote.

    Raises ValueError for a file of another kind, cut off or altered, and OSError (a
    FileNotFoundError where nothing is) for one that cannot be read.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise type(error)(
            f"checkpoint: expected a file at {path}, got {error.strerror!r}; check the path"
        ) from None
    wrong = _what_is_wrong(data)
    if wrong:
        raise ValueError(
            f"checkpoint: expected a whole file as the course writes it, got {wrong} in {path}; "
            "delete it and take another copy, or train again"
        )
    header = json.loads(data[8 : _end_of_header(data)])
    about = json.loads(header["__metadata__"]["course_lm"])
    if about["format"] != FORMAT:
        raise ValueError(
            f"checkpoint: expected format {FORMAT}, got {about['format']} in {path}; use the "
            "version of the course that wrote it, or train again"
        )
    return about, safetensors.torch.load(data)


@torch.no_grad()
def put(path: Path, tensors: dict[str, Tensor], own: dict[str, Tensor], instead: str) -> None:
    """Copy the tensors of a file into `own`, which has the same names and shapes.

    instead: what to do otherwise, the end of the sentence. Raises ValueError with nothing copied.
    """
    for name in sorted(own | tensors):
        sides = [tuple(side[name].shape) if name in side else "none" for side in (own, tensors)]
        if sides[0] != sides[1]:
            raise ValueError(
                f"checkpoint: expected {name} of shape {sides[0]}, got {sides[1]} in {path}; "
                f"{instead}"
            )
    for name, tensor in own.items():
        tensor.copy_(tensors[name])


def _sealed(tensors: dict[str, Tensor], about: dict[str, Any]) -> bytes:
    own = {name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}
    for name, tensor in own.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise ValueError(
                f"checkpoint: expected finite numbers, got {int((~tensor.isfinite()).sum())} that "
                f"are not in {name}; go back to an older checkpoint and lower the learning rate"
            )
    size = sum(tensor.nbytes for tensor in own.values())
    seal = {"sha256": OPEN, "bytes": size, "format": FORMAT}
    try:
        text = json.dumps(seal | about, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"checkpoint: expected facts that JSON can hold, got one that it cannot ({error}); "
            "give texts, finite numbers, and lists and dictionaries of these"
        ) from None
    data = safetensors.torch.save(own, metadata={"course_lm": text})
    begin, end = SEAL.search(data).span(1)
    return data[:begin] + _checksum(data, begin, end) + data[end:]


def _checksum(data: bytes, begin: int, end: int) -> bytes:
    """Sha256 of `data`, with OPEN from `begin` to `end`."""
    parts = memoryview(data)
    checksum = hashlib.sha256(parts[:begin])
    checksum.update(OPEN.encode())
    checksum.update(parts[end:])
    return checksum.hexdigest().encode()


def _end_of_header(data: bytes) -> int:
    """Safetensors: 8 bytes that say how long the header is, the header, the tensors."""
    return 8 + int.from_bytes(data[:8], "little")


def _what_is_wrong(data: bytes) -> str | None:
    """A few words where `data` is not what `write` wrote, byte for byte."""
    if data[8:9] not in (b"{", b""):
        return "one of another kind"
    header = _end_of_header(data)
    seal = SEAL.search(data, 0, min(header, len(data)))
    size = header + int(seal[2]) if seal else max(header, 9)
    if len(data) < size:
        return f"only {len(data):,} bytes of a longer one"
    if not seal:
        return "one that another program wrote"
    if seal[1] != _checksum(data, *seal.span(1)):
        return "bytes that have changed since (the checksum differs)"
    return None


def _drop_forgotten(folder: Path) -> None:
    for draft in folder.glob(DRAFT.format("*")):
        with contextlib.suppress(OSError):
            if time.time() - draft.stat().st_mtime > FORGOTTEN:
                draft.unlink()


def sync_folder(folder: Path) -> None:
    """Force the names in a folder to disk as well; not every system can."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
