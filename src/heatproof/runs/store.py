"""A run folder that many may write: finished blocks, and what is known of them from one listing."""

import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from heatproof.errors import StoreError, TornError
from heatproof.runs import blocks, seal
from heatproof.runs.blocks import SUMMARY, Part
from heatproof.runs.files import Files, LocalFiles
from heatproof.runs.places import files_at
from heatproof.runs.tensors import views

if TYPE_CHECKING:
    import numpy as np

RUN, SUMMED_UP, BEFORE = "run.json", "finished.json", "manifest.json"
ROWS, PARTIAL, MAPS, SAMPLES, SUPERSEDED, WORKERS, LEASES, PREPARED = (
    "rows", "partial", "maps", "samples", "superseded", "workers", "leases", "prepared",
)  # fmt: skip
OF_BLOCKS = (ROWS, PARTIAL, MAPS, SAMPLES, SUPERSEDED)
OURS = (*OF_BLOCKS, WORKERS, LEASES, PREPARED)
_HALF_WRITTEN = re.compile(r".+\.\d+\.[0-9a-f]+\.tmp").fullmatch
Questions = frozenset[str]


def no_run(place: object) -> StoreError:
    """What to raise where a run is read and there is none."""
    return StoreError(f"Expected a run of heatproof with a {RUN}, but {place} has none.")


class Store:
    """The files of one run.

    rows/ holds, for each finished block, a file of all its rows, written once under a name that tells block, samples
    and questions; partial/ what is done of blocks that are being computed; samples/ the samples of each block; maps/
    those that are kept for showing; superseded/ rows that the present question does not ask for; workers/ who computed
    what; leases/ who is at it; prepared/ what was learned before the blocks, as long as they are computed.
    """

    def __init__(self, place: Files | Path | str) -> None:
        self.files: Files = files_at(place) if isinstance(place, Path | str) else place
        self._known: dict[str, Questions] = {}  # what the digests of questions stand for

    def check(self) -> None:
        """Refuse a folder that cannot become a run, without touching it.

        Raises: StoreError if it is no folder, or holds files that are no run of ours, or one of an earlier version.
        """
        names = self.files.names()
        if RUN in names:
            return
        if BEFORE in names:
            raise StoreError(
                f"Expected a run of this version, but {self.files} is one of schema 2, which an earlier version made; "
                "it can be read and reported, not gone on with. Choose another folder."
            )
        root = self.files.root if isinstance(self.files, LocalFiles) else None
        if root is None:
            foreign = names
        else:
            if root.exists() and not root.is_dir():
                raise StoreError(f"Expected {root} to be a folder, but it is a file; choose another folder.")
            present = list(root.iterdir()) if root.is_dir() else []
            foreign = [path.name for path in present if path.name not in OURS and not _HALF_WRITTEN(path.name)]
        if foreign:
            raise StoreError(
                f"Expected an empty folder or a run of heatproof, but {self.files} holds other files; choose another."
            )

    def open(self) -> None:
        """Make the folder. Raises: StoreError if it cannot be a run's or cannot be written."""
        self.check()
        if isinstance(self.files, LocalFiles):
            try:
                for folder in (ROWS, SAMPLES, WORKERS):
                    (self.files.root / folder).mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise StoreError(f"Expected to write to {self.files}, but cannot: {error.strerror}.") from None

    def sweep(self) -> None:
        """Take away what killed processes left half written. For who is alone with the run."""
        if isinstance(self.files, LocalFiles):
            for leftover in [*self.files.root.glob("*.tmp"), *self.files.root.glob("*/*.tmp")]:
                if _HALF_WRITTEN(leftover.name):
                    leftover.unlink(missing_ok=True)

    def question(self) -> dict[str, Any] | None:
        """What is asked in this run; None for a new one."""
        return self._json(RUN)

    def asked(self, place: object) -> dict[str, Any]:
        """The same. Raises: StoreError where there is no run, which names `place`."""
        question = self.question()
        if question is None:
            raise no_run(place)
        return question

    def ask(self, question: Mapping[str, Any], *, anew: bool = False) -> bool:
        """Write down what is asked: once, or `anew` in the place of what was asked before; False if it is there."""
        if anew:
            self.files.replace(RUN, _packed(question, RUN, indent=1))
            return True
        return self.files.create(RUN, _packed(question, RUN, indent=1))

    def parts(self, folder: str, block: int | None = None) -> list[Part]:
        """The files of blocks (of this one, if it is named) in a folder, in the order of the blocks: one listing."""
        begin = "" if block is None else f"{Part(folder, block, '', '').label}-"
        return [part for file in self.files.names(folder, begin) if (part := Part.of(folder, file)) is not None]

    def questions(self, part: Part) -> Questions:
        """What a file answers. Files of equal name answer the same, so that one of them is looked into.

        Raises: FileNotFoundError where another process moved it meanwhile.
        """
        if part.questions not in self._known:
            content = self.files.read(part.name)
            self._known[part.questions] = blocks.questions_in(blocks.opened(content, part.name))
        return self._known[part.questions]

    def know(self, questions: Collection[str]) -> None:
        """What the digest of these questions stands for, so that no file needs to be looked into for it."""
        self._known[blocks.digest_of_questions(questions)] = frozenset(questions)

    def finished(self) -> dict[int, Questions]:
        """The questions that each block's rows answer, by block; under SUMMARY those of the whole data set."""
        found: dict[int, Questions] = looking_again(self._finished)
        return found

    def _finished(self, block: int | None = None) -> dict[int, Questions]:
        found: dict[int, Questions] = {}
        for part in self.parts(ROWS, block):
            try:
                here = self.questions(part)
            except TornError:  # who computes mends it, who reads names it
                continue
            found[part.block] = found[part.block] | here if part.block in found else here
        return found

    def finished_of(self, block: int) -> Questions:
        """The questions that one block's rows answer now."""
        found: dict[int, Questions] = looking_again(lambda: self._finished(block))
        return found.get(block, frozenset())

    def samples(self) -> dict[int, str]:
        """The digest of each block's samples, as far as blocks were begun."""
        return {part.block: part.samples for part in self.parts(SAMPLES)}

    def table(self, part: Part, columns: Collection[str] | None = None) -> pa.Table:
        """The rows in a file, in these columns or all. Raises: FileNotFoundError; TornError."""
        found = blocks.opened(self.files.read(part.name), part.name, ())
        return found.read(None if columns is None else list(columns), use_threads=False)  # a block is small

    def write_samples(self, block: int, samples: str, table: pa.Table) -> None:
        """What is explained in a block."""
        part = Part(SAMPLES, block, samples, blocks.digest_of(()))
        self.files.create(part.name, seal.sealed(blocks.packed(table), part.name))

    def partial(self, block: int, samples: str) -> list[Part]:
        """What is done of a block that is not finished."""
        return [part for part in self.parts(PARTIAL, block) if part.samples == samples]

    def write_rows(self, folder: str, block: int, samples: str, table: pa.Table, questions: Collection[str]) -> None:
        """Rows of a block with the questions that they answer."""
        part = Part(folder, block, samples, blocks.digest_of_questions(questions))
        self.know(questions)
        content = seal.sealed(blocks.packed(table, questions), part.name)
        if block == SUMMARY:
            self.files.replace(part.name, content)
        else:
            self.files.create(part.name, content)

    def write_maps(
        self,
        folder: str,
        block: int,
        samples: str,
        maps: Mapping[str, "np.ndarray[Any, Any]"],
        answered: Mapping[str, Collection[str]],
    ) -> None:
        """Maps by name, with the questions that each method's maps were made for."""
        named = {method: sorted(questions) for method, questions in answered.items()}
        every = {question for questions in named.values() for question in questions}
        part = Part(folder, block, samples, blocks.digest_of_questions(every), "safetensors")
        self.files.create(part.name, _tensors(maps, {"questions": json.dumps(named)}, part.name))

    def write_inputs(self, arrays: Mapping[str, "np.ndarray[Any, Any]"]) -> None:
        """The pictures of the samples that are shown, by name."""
        name = f"{MAPS}/inputs.safetensors"
        self.files.create(name, _tensors(arrays, None, name))

    def maps(self, part: Part) -> tuple[dict[str, "np.ndarray[Any, Any]"], dict[str, list[str]]]:
        """Maps by name, and each method's questions. Raises: FileNotFoundError."""
        found, about = views(seal.whole(self.files.read(part.name), part.name))
        return found, json.loads(about.get("questions", "{}"))

    def has_others(self, wanted: Collection[str]) -> bool:
        """Whether rows answer what is not asked."""
        return any(not self.questions(part) <= set(wanted) for part in self.parts(ROWS))

    def set_aside(self, wanted: Collection[str]) -> None:
        """Move the files that answer anything which is not asked to superseded/.

        What they hold of what is asked comes back by `bring_back`; at every moment a row is in rows/ at most once.
        """
        for part in self.parts(ROWS):
            if not self.questions(part) <= set(wanted):
                self.files.move(part.name, part._replace(folder=SUPERSEDED).name)
        for part in self.parts(PARTIAL):
            if part.kind == "parquet" and self.questions(part).isdisjoint(wanted):
                self.files.remove(part.name)

    def bring_back(self, wanted: Collection[str]) -> None:
        """Take what is asked, and not answered in rows/, from superseded/."""
        finished: dict[int, Questions] = {}
        aside = self.parts(SUPERSEDED)
        if aside:
            finished = self.finished()
        for part in aside:
            here = (self.questions(part) & set(wanted)) - finished.get(part.block, frozenset())
            if here and part.block != SUMMARY:
                self.write_rows(ROWS, part.block, part.samples, blocks.only(self.table(part), here), here)
                finished[part.block] = finished.get(part.block, frozenset()) | here

    def clear_partial(self, block: int) -> None:
        """Let go of what was done of a block that is finished."""
        for part in self.parts(PARTIAL, block):
            self.files.remove(part.name)

    def current(self, wanted: Collection[str], torn: list[str] | None = None) -> Iterator[tuple[Part, Questions]]:
        """The files with rows that are asked for, each with the questions to take from it: nothing twice.

        Those that are not as they were written are named in `torn` and left out, if it is given.

        Raises: TornError otherwise.
        """
        asked = frozenset(wanted)
        claimed: dict[int, Questions] = {}
        for folder in (ROWS, PARTIAL):
            for part in self.parts(folder):
                if part.kind != "parquet":
                    continue
                try:
                    here = self.questions(part) & asked
                except TornError:
                    if torn is None:
                        raise
                    torn.append(part.name)
                    continue
                if part.block in claimed:
                    here -= claimed[part.block]
                    claimed[part.block] |= here
                else:
                    claimed[part.block] = here
                if here:
                    yield part, here

    def workers(self) -> list[dict[str, Any]]:
        """What each worker said of itself, in the order of their starts."""
        files = [file for file in self.files.names(WORKERS) if file.endswith(".json")]
        return [found for file in files if (found := self._json(f"{WORKERS}/{file}")) is not None]

    def summed_up(self) -> dict[str, Any] | None:
        """What was said of all blocks together when they were finished, if they are."""
        return self._json(SUMMED_UP)

    def sum_up(self, said: Mapping[str, Any]) -> None:
        """Say something of all blocks together."""
        self.write(SUMMED_UP, said)

    def write(self, name: str, said: Mapping[str, Any]) -> None:
        """A file of things that JSON knows, in the place of what was there."""
        self.files.replace(name, _packed(said, name))

    def _json(self, name: str) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = json.loads(seal.whole(self.files.read(name), f"{self.files}/{name}"))
        except FileNotFoundError:
            return None
        found.pop(seal.KEY)
        return found

    def mend(self, most: int) -> list[str]:
        """Take away every file that is not as it was written, and with a block's one all of its: it is computed again.

        Gives their names. For who is alone with the run. Cost: every file is read once; of more than `most` none is.
        """
        names = [f"{folder}/{file}" for folder in OF_BLOCKS for file in self.files.names(folder)]
        if len(names) > most:
            return []
        local = self.files if isinstance(self.files, LocalFiles) else None
        cleared = [] if local is None else [one for folder in (*OF_BLOCKS, WORKERS) for one in local.clear(folder)]
        torn = [name for name in (RUN, SUMMED_UP) if self._torn(name)]
        torn += [f"{WORKERS}/{file}" for file in self.files.names(WORKERS) if self._torn(f"{WORKERS}/{file}")]
        damaged = {name for name in names if self._torn(name)}
        hit = {part.block for name in (*damaged, *cleared) if (part := _part(name)) is not None}
        for name in names:
            if (part := _part(name)) is not None and part.block in hit:
                self.files.remove(name)
        for name in (*torn, *damaged):
            self.files.remove(name)
        return [*cleared, *torn, *sorted(damaged)]

    def _torn(self, name: str) -> bool:
        try:
            return not seal.is_whole(self.files.read(name), name)
        except FileNotFoundError:
            return False
        except TornError:
            return True


def _part(name: str) -> Part | None:
    folder, _, file = name.partition("/")
    return Part.of(folder, file)


def _tensors(arrays: Mapping[str, "np.ndarray[Any, Any]"], about: dict[str, str] | None, name: str) -> bytes:
    from safetensors.numpy import save

    return seal.sealed(save(dict(arrays), {**(about or {}), seal.KEY: seal.UNSEALED}), name)


def _packed(said: Mapping[str, Any], name: str, indent: int | None = None) -> bytes:
    text = json.dumps({**said, seal.KEY: seal.UNSEALED}, indent=indent, ensure_ascii=False)
    return seal.sealed((text + "\n").encode("utf-8", "backslashreplace"), name)


def looking_again(read: Callable[[], Any], times: int = 5) -> Any:
    """What `read` gives, tried again where a file was moved aside under its eyes."""
    for _ in range(times - 1):
        with suppress(FileNotFoundError):
            return read()
    return read()
