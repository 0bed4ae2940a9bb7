"""Specifications that somebody has mistyped, cut, filled with nonsense, or made to do harm."""

import random
from collections import Counter
from pathlib import Path
from typing import Any

import limits
import pytest

from heatproof.auditing.spec import read

WHOLE = """
title = "a title"
out = "runs/x"
batch = 2
threads = 1
targets = "label"
believable = ["steady"]
gallery = 1
methods = ["gradient", { name = "smoothgrad", samples = 2, method = { name = "gradient" }, label = "sg" }]
checks = ["calibration", { name = "parameter-randomization", seeds = [0, 1], similarities = ["spearman"] }]

[model]
name = "heatproof.zoo:DemoCNN"
weights = "net.safetensors"
arguments = { }

[data]
name = "image-folder"
root = "$HOME/pictures"
limit = 2
resize = [8, 8]
crop = 8
mean = [0.5, 0.5, 0.5]
std = [0.5, 0.5, 0.5]

[features]
name = "tiles"
size = 4
"""
VALUES = (
    "0", "-1", "1e400", "nan", "-inf", "true", '""', '"x"', "[]", "[[]]", "{}", "[1, 'a']", "1979-05-27", "2" * 40,
    "9" * 5000, f'"{"x" * 5000}"', '"os:system"', '"builtins:eval"', '"heatproof.cli:main"', '"timm:../../x"',
    '"torchvision:nonsense"', '"a:b:c"', '":"', '"../../../etc/passwd"', '"~nobody/x"', '"/dev/zero"', '"/dev/stdin"',
    '"$NOT_SET"', '"\\u0000"', '"\\uFFFF"', "{ name = 3 }", '{ name = "gradient", name2 = 1 }', "[" * 300 + "]" * 300,
    '{ name = "smoothgrad", method = { name = "smoothgrad", method = { name = "cgi" } } }', "0x7fffffffffffffff",
)  # fmt: skip


def mutated(generator: random.Random) -> bytes:
    """The spec with a few changes."""
    lines = WHOLE.strip().splitlines()
    for _ in range(generator.randint(1, 3)):
        place = generator.randrange(len(lines))
        kind = generator.random()
        if kind < 0.5 and "=" in lines[place]:
            lines[place] = f"{lines[place].split('=')[0]}= {generator.choice(VALUES)}"
        elif kind < 0.6:
            del lines[place]
        elif kind < 0.7:
            lines.insert(place, generator.choice(lines))
        elif kind < 0.8:
            lines.insert(
                place, f"{generator.choice(['model', 'nonsense', 'folder', 'source', 'trusted', 'a.b.c'])} = 1"
            )
        elif kind < 0.9:
            generator.shuffle(lines)
        else:
            text = lines[place]
            cut = generator.randrange(len(text) + 1)
            lines[place] = text[:cut] + generator.choice(["\0", "é", '"', "]", "=", "\\", "\ufeff"]) + text[cut:]
    content = "\n".join(lines).encode()
    if generator.random() < 0.1:
        place = generator.randrange(len(content))
        content = content[:place] + bytes([generator.randrange(256)]) + content[place + generator.randrange(3) :]
    return content


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("times", [150, pytest.param(1000, marks=pytest.mark.slow)])
def test_no_spec_ends_in_an_error_that_is_not_ours(tmp_path: Path, times: int) -> None:
    generator, found, began = random.Random(times), Counter[str](), limits.memory()
    for number in range(times):
        path = tmp_path / "spec.toml"
        path.write_bytes(mutated(generator))

        def call(path: Path = path) -> Any:
            spec = read(path)
            with spec.code():
                spec.model.load(spec.folder)
            return spec.data.load()

        if said := limits.wrong(call):
            found[f"case {number}: {said}"] += 1
    assert not found, "\n".join(found)
    assert [path.name for path in tmp_path.iterdir()] == ["spec.toml"]  # nothing was written
    assert limits.memory() - began < limits.MEMORY
