"""A corpus that is too large to hold: its texts one after another, from a file or from afar.

Uses the `datasets` library, an extra of the course that no page needs. Nothing is downloaded unless
`download=True` asks for it.
"""

import glob
import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

READERS = {".jsonl": "json", ".jsonl.gz": "json", ".parquet": "parquet"}


def stream_texts(
    source: str | Path, *, column: str = "text", part: str | None = None, download: bool = False
) -> Iterator[str]:
    """The texts of a local shard (.jsonl, .jsonl.gz, .parquet), or of a corpus on the hub.

    column: where each record holds its text. part: a configuration of a corpus on the hub, such as
    "sample-10BT" of "HuggingFaceFW/fineweb". Records come one by one: `itertools.islice` them. Only
    with `download` is the network used. Raises ValueError for a source that cannot be read or has
    no such column or part, ModuleNotFoundError without `datasets`.
    """
    if importlib.util.find_spec("datasets") is None:
        raise ModuleNotFoundError(
            "stream_texts: expected the package 'datasets', which reads the shards, but it is not "
            "installed; run `pip install 'course-lm[hub]'`"
        )
    if part is not None and not download:
        raise ValueError(
            f"stream_texts: expected no part of a local shard, got {part!r}; leave it out, or give "
            "download=True if the source is a corpus on the hub"
        )
    files = {"path": str(source), "name": part} if download else _shard(Path(source).expanduser())
    from datasets import config, load_dataset  # seconds of imports: only for those who stream

    config.HF_UPDATE_DOWNLOAD_COUNTS &= download  # else the hub is told of a local shard
    with _readable(source):
        records = load_dataset(**files, split="train", streaming=True)
    return _texts(records, column, source)


def _shard(path: Path) -> dict[str, str]:
    if not path.is_file() or not path.stat().st_size:
        kind = "an empty file" if path.is_file() else "nothing"
        raise ValueError(
            f"stream_texts: expected a file with records, got {kind} at {path}; check the path, or "
            "give download=True if this is the name of a corpus on the hub"
        )
    reader = next((READERS[end] for end in READERS if path.name.endswith(end)), None)
    if reader is None:
        raise ValueError(
            f"stream_texts: expected a name that ends in {', '.join(READERS)}, got {path.name}; "
            "save the corpus in one of these forms"
        )
    return {"path": reader, "data_files": glob.escape(str(path))}


def _texts(records, column: str, source: str | Path) -> Iterator[str]:
    rows = iter(records)
    while True:
        with _readable(source):
            record = next(rows, None)
        if record is None:
            return
        if not isinstance(record.get(column), str):
            kind = type(record[column]).__name__ if column in record else "nothing"
            raise ValueError(
                f"stream_texts: expected a text in the column {column!r}, got {kind} there and the "
                f"columns {', '.join(map(repr, record))} in {source}; name the column that holds "
                "the text"
            )
        yield record[column]


@contextmanager
def _readable(source: str | Path) -> Iterator[None]:
    """One sentence for whatever the reader finds wrong: damage, a wrong form, no connection."""
    try:
        yield
    except (ValueError, OSError, EOFError) as error:
        reason = " ".join(str(error).split())[:120]
        raise ValueError(
            f"stream_texts: expected records that can be read, got {type(error).__name__} from "
            f"{source} ({reason}); check the file, or the name and the connection"
        ) from error
