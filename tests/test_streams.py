"""A shard is read record by record, without a network; what cannot be read gets one sentence."""

import gzip
import importlib
import itertools
import json
import socket

import pytest

from course_lm.language import streams
from course_lm.language.streams import stream_texts

RECORDS = [{"text": f"text {n}, with a café", "id": n} for n in range(500)]
LINES = "\n".join(map(json.dumps, RECORDS)).encode()


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    config = importlib.import_module("datasets").config
    monkeypatch.setattr(config, "HF_UPDATE_DOWNLOAD_COUNTS", True)
    monkeypatch.setattr(config, "HF_HUB_OFFLINE", False)
    asked = []  # the library swallows what is raised: note it, and look at the end

    def refuse(*where):
        asked.append(where)
        raise OSError("no network here")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    yield
    assert not asked


@pytest.fixture
def write(tmp_path):
    def write(name, data=LINES):
        (tmp_path / name).write_bytes(data)
        return tmp_path / name

    return write


def as_parquet(path):
    pyarrow = importlib.import_module("pyarrow")  # what `datasets` itself reads shards with
    table = pyarrow.Table.from_pylist(RECORDS)
    importlib.import_module("pyarrow.parquet").write_table(table, path)
    return path


@pytest.mark.parametrize("name", ["some.jsonl", "some.jsonl.gz", "some.parquet"])
def test_a_local_shard_gives_its_texts_in_order_without_a_network(name, write, tmp_path):
    if name.endswith("parquet"):
        path = as_parquet(tmp_path / name)
    else:
        path = write(name, gzip.compress(LINES) if name.endswith("gz") else LINES)
    texts = stream_texts(path)
    assert list(itertools.islice(texts, 2)) == [RECORDS[0]["text"], RECORDS[1]["text"]]
    assert list(texts) == [record["text"] for record in RECORDS[2:]]


@pytest.mark.parametrize("name", ["some[1].jsonl", "so*me.jsonl", "some?.jsonl"])
def test_a_name_with_signs_of_a_pattern_is_that_file_alone(name, write):
    write("some1.jsonl", b'{"text": "another"}')
    write("so-me.jsonl", b'{"text": "another"}')
    assert list(stream_texts(write(name, b'{"text": "mine"}'))) == ["mine"]


def test_another_column_is_read_by_its_name(write):
    path = write("some.jsonl", b'{"body": "one", "text": 1}\n{"body": "two", "text": 2}')
    assert list(stream_texts(str(path), column="body")) == ["one", "two"]


@pytest.mark.parametrize(("column", "kind"), [("body", "nothing"), ("id", "int")])
def test_a_record_without_a_text_names_the_columns_that_there_are(column, kind, write):
    said = (
        rf"expected a text in the column '{column}', got {kind} there and the columns 'text', 'id' "
        r"in .*jsonl; name"
    )
    with pytest.raises(ValueError, match=said):
        next(stream_texts(write("some.jsonl"), column=column))


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("bad.jsonl", b'{"text": "one"}\n{"text": two', "expected records that can be read"),
        ("bad.jsonl.gz", b"not compressed", "expected records that can be read, got BadGzipFile"),
        ("cut.jsonl.gz", gzip.compress(LINES)[:-30], "expected records that can be read"),
        ("bad.parquet", b"not a table", "expected records that can be read"),
        ("null.jsonl", b'{"text": null}', "expected a text in the column 'text', got NoneType"),
        ("empty.jsonl", b"", "expected a file with records, got an empty file"),
        ("some.csv", b"text\none", "expected a name that ends in .jsonl, .jsonl.gz, .parquet, got"),
    ],
)
def test_a_file_that_cannot_be_read_gets_one_sentence(name, data, said, write):
    with pytest.raises(ValueError, match=f"^stream_texts: {said}") as caught:
        list(stream_texts(write(name, data)))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_a_name_from_the_hub_is_not_fetched_unless_asked():
    with pytest.raises(
        ValueError, match="got nothing at HuggingFaceFW/fineweb; check the path, or"
    ):
        stream_texts("HuggingFaceFW/fineweb")


def test_a_part_of_a_local_shard_is_refused(write):
    with pytest.raises(ValueError, match="no part of a local shard, got 'some'; leave it out, or"):
        stream_texts(write("some.jsonl"), part="some")


def test_asking_for_a_download_hands_the_name_and_the_part_to_the_library(monkeypatch):
    datasets = importlib.import_module("datasets")
    asked = []

    def load(**files):
        asked.append(files)
        return [{"text": "from afar"}]

    monkeypatch.setattr(datasets, "load_dataset", load)
    texts = stream_texts("HuggingFaceFW/fineweb", part="sample-10BT", download=True)
    assert list(texts) == ["from afar"]
    assert asked == [
        {
            "path": "HuggingFaceFW/fineweb",
            "name": "sample-10BT",
            "split": "train",
            "streaming": True,
        }
    ]


def test_no_connection_gets_one_sentence(monkeypatch):
    datasets = importlib.import_module("datasets")

    def load(**_):
        raise ConnectionError("no route")

    monkeypatch.setattr(datasets, "load_dataset", load)
    with pytest.raises(ValueError, match=r"got ConnectionError from a/b \(no route\); check the"):
        stream_texts("a/b", download=True)


def test_a_missing_package_is_named_with_the_line_that_installs_it(monkeypatch):
    monkeypatch.setattr(streams.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"run `pip install 'course-lm\[hub\]'`"):
        stream_texts("some.jsonl")
