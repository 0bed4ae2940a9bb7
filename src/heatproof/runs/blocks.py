"""The files of a block: named by what is in them, so that whoever does the same work writes the same file.

`0000012-3f9c1e0b52aa-90d1c7e4a3b2.parquet` holds rows of block 12: the first digest is that of its samples, the second
that of the questions which the rows answer. So a listing tells what is finished, and a file is never changed.
"""

import hashlib
import io
import json
import re
from collections.abc import Collection, Iterable
from typing import NamedTuple, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from heatproof.rows import COLUMNS
from heatproof.runs import seal

DIGITS = 12  # of a digest in a name: two of 10,000 blocks' files agree by chance once in 10^6 runs
ROW_SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("check", "method", "setting", "role", "stage")),
        ("position", pa.float64()),
        ("sample", pa.string()),
        ("metric", pa.string()),
        ("value", pa.float64()),
        ("seed", pa.int64()),
        ("question", pa.string()),
    ]
)
TEXTS = tuple(field.name for field in ROW_SCHEMA if field.type == pa.string())
SAMPLE_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("digest", pa.string()),
        ("target", pa.int64()),
        ("predicted", pa.int64()),
        ("probability", pa.float64()),
        ("target_probability", pa.float64()),
        ("label", pa.int64()),
        ("number", pa.float64()),
        ("output", pa.float64()),
    ]
)
_QUESTIONS = b"heatproof.questions"
_NAME = re.compile(rf"(\d+|summary)-([0-9a-f]{{{DIGITS}}})-([0-9a-f]{{{DIGITS}}})\.(parquet|safetensors)").fullmatch
Table = TypeVar("Table", pa.Table, pa.RecordBatch)
SUMMARY = -1  # the number that stands for all blocks together


class Part(NamedTuple):
    """A file of a block: which, of which samples, and which questions it answers, by digest."""

    folder: str
    block: int
    samples: str
    questions: str
    kind: str = "parquet"

    @property
    def name(self) -> str:
        """The file's name below the run."""
        return f"{self.folder}/{self.file}"

    @property
    def file(self) -> str:
        """The file's own name."""
        return f"{self.label}-{self.samples}-{self.questions}.{self.kind}"

    @property
    def label(self) -> str:
        """The block, as its files' names begin."""
        return "summary" if self.block == SUMMARY else f"{self.block:07d}"

    @classmethod
    def of(cls, folder: str, file: str) -> "Part | None":
        """What a name says; None for a file that is none of ours."""
        found = _NAME(file)
        if found is None:
            return None
        block = SUMMARY if found[1] == "summary" else int(found[1])
        return cls(folder, block, found[2], found[3], found[4])


def digest_of(names: Iterable[str]) -> str:
    """The digest, in a file's name, of a set of questions or a sequence of samples."""
    return hashlib.sha256("\n".join(names).encode()).hexdigest()[:DIGITS]


def digest_of_questions(questions: Collection[str]) -> str:
    """The same of a set of questions, whatever their order."""
    return digest_of(sorted(questions))


def packed(table: pa.Table, questions: Collection[str] | None = None) -> bytes:
    """A table as a Parquet file, to be sealed, that says which questions it answers: without rows, too."""
    about: dict[bytes | str, bytes | str] = {seal.KEY: seal.UNSEALED}
    if questions is not None:
        about[_QUESTIONS] = json.dumps(sorted(questions)).encode()
    buffer = io.BytesIO()
    pq.write_table(table.replace_schema_metadata(about), buffer, compression="zstd")
    return buffer.getvalue()


def only(table: Table, questions: Collection[str]) -> Table:
    """The rows of a table or batch that answer these questions."""
    return table.filter(pc.is_in(table["question"], pa.array(sorted(questions), pa.string())))


def opened(content: bytes, name: str, texts: Collection[str] = TEXTS) -> pq.ParquetFile:
    """A Parquet file whose `texts` are read as dictionaries. Raises: TornError for one that changed since."""
    return pq.ParquetFile(pa.BufferReader(seal.whole(content, name)), read_dictionary=list(texts))


def questions_in(file: pq.ParquetFile) -> frozenset[str]:
    """The questions that a file says it answers."""
    metadata = file.schema_arrow.metadata or {}
    return frozenset(json.loads(metadata.get(_QUESTIONS, b"[]")))


def empty() -> pa.Table:
    """No rows."""
    return ROW_SCHEMA.empty_table()


assert tuple(ROW_SCHEMA.names) == COLUMNS
