"""Texts as the tokens of a tokenizer of Hugging Face, from a folder."""

import json
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from heatproof.errors import InputError
from heatproof.pretrained import library, loaded

FILES = ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "vocab.json", "spiece.model", "tokenizer.model")
LENGTHS = ("max_position_embeddings", "n_positions", "max_sequence_length")
ENDLESS = 10**6  # what transformers says of a tokenizer that knows no length is far above


class Tokenized(NamedTuple):
    """A text's tokens, filled up: their numbers, 1 where the text stands, what each token is, whether it is cut."""

    ids: list[int]
    mask: list[int]
    words: tuple[str, ...]
    cut: bool


class Tokenizer:
    """The tokenizer in a folder. Nothing is fetched, and no code of the folder's own is run.

    Raises: InputError for a folder without one, or one that has no token to fill up with; MissingExtraError.
    """

    def __init__(self, folder: Path) -> None:
        if not any((folder / name).is_file() for name in FILES):
            raise InputError(
                f"Expected a tokenizer in {str(folder)!r} ({', '.join(FILES[:2])}, …), but there is none; save it "
                "there with tokenizer.save_pretrained(folder), or name a `vocabulary`."
            )
        made = library(f"The tokenizer in {str(folder)!r}").AutoTokenizer
        self.made: Any = loaded(made, folder, f"a tokenizer in {str(folder)!r}")
        if self.made.pad_token is None:
            raise InputError(
                f"Expected the tokenizer in {str(folder)!r} to have a token that fills texts up, but it has none; save "
                "it with one: tokenizer.pad_token = tokenizer.eos_token."
            )
        self.folder = folder

    @cached_property
    def longest(self) -> int | None:
        """How many tokens the tokenizer and the network in its folder take; None where neither says."""
        lengths = [int(self.made.model_max_length)] if self.made.model_max_length < ENDLESS else []
        config = self.folder / "config.json"
        if config.is_file():
            found = json.loads(config.read_text(encoding="utf-8"))
            lengths += [int(found[name]) for name in LENGTHS if isinstance(found.get(name), int) and found[name] > 0]
        return min(lengths, default=None)

    @property
    def cut_on(self) -> str:
        """The side on which longer texts are cut: "left" or "right"."""
        return str(self.made.truncation_side)

    def __call__(self, text: str, length: int) -> Tokenized:
        """A text's tokens, cut or filled up to `length`, on the tokenizer's own sides."""
        fast = bool(self.made.is_fast)
        found = self.made(
            text, truncation=True, padding="max_length", max_length=length, return_offsets_mapping=fast,
            return_attention_mask=True, return_special_tokens_mask=True,
        )  # fmt: skip
        ids = [int(one) for one in found["input_ids"]]
        names = [str(name) for name in self.made.convert_ids_to_tokens(ids)]
        if fast:  # as they stand in the text: byte-level tokens have letters of their own
            spans = zip(names, found["offset_mapping"], found["special_tokens_mask"], strict=True)
            names = [
                name if special else _shown(text[start:stop], name, unknown=name == self.made.unk_token)
                for name, (start, stop), special in spans
            ]
        mask = [int(one) for one in found["attention_mask"]]
        return Tokenized(ids, mask, tuple(names), all(mask) and self._is_cut(found, text, length))

    def _is_cut(self, found: Any, text: str, length: int) -> bool:
        """Whether a text that fills its `length` was longer."""
        if self.made.is_fast:
            return bool(found.encodings[0].overflowing)
        return len(self.made.tokenize(text)) + int(self.made.num_special_tokens_to_add()) > length


@lru_cache(maxsize=4)
def tokenizer_of(folder: str) -> Tokenizer:
    """The tokenizer in a folder, loaded once a process."""
    return Tokenizer(Path(folder))


def _shown(piece: str, name: str, *, unknown: bool) -> str:
    word = piece.strip() or name
    return f"[{word}]" if unknown else word
