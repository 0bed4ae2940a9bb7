"""Files that somebody made to do harm, or that lie as nobody would think: named and left out, the others read."""

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from heatproof.data import ImageFile, ImageFolder
from heatproof.data.ids import printable, unique
from heatproof.errors import InputError

RGB = np.random.default_rng(0).integers(0, 255, (12, 12, 3), np.uint8)
SIZE = {"resize": 12, "crop": 12}


def picture(path: Path, shade: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((RGB + shade).astype(np.uint8)).save(path, format="png")
    return path


def bomb(path: Path, width: int, height: int) -> Path:
    """A PNG of a hundred bytes that says to be so large."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    image = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + image)
    return path


def folder(root: Path, **settings) -> ImageFolder:
    return ImageFolder(root=str(root), **SIZE, **settings)


def reasons(data) -> dict[str, str]:
    return dict(data.skipped)


@pytest.mark.parametrize(("width", "height"), [(10_000, 8_000), (60_000, 60_000), (2**31 - 1, 2**31 - 1)])
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_picture_of_too_many_pixels_is_left_out_before_it_is_decoded(tmp_path, width, height, monkeypatch):
    picture(tmp_path / "good.png")
    bomb(tmp_path / "bomb.png", width, height)
    data = folder(tmp_path).load()
    assert data.ids == ("good.png",)
    assert "pixels" in reasons(data)["bomb.png"] or "Dimensions" in reasons(data)["bomb.png"]


def test_memory_that_is_not_there_is_a_broken_file(tmp_path, monkeypatch):
    picture(tmp_path / "good.png")
    picture(tmp_path / "large.png", 1)
    own = Image.open

    def opened(path, *args):
        if "large" in str(path):
            raise MemoryError
        return own(path, *args)

    monkeypatch.setattr(Image, "open", opened)
    data = folder(tmp_path).load()
    assert (data.ids, list(reasons(data))) == (("good.png",), ["large.png"])


def test_a_file_that_pillow_stumbles_over_is_left_out(tmp_path):
    picture(tmp_path / "good.png")
    Image.fromarray(RGB).save(tmp_path / "odd.dds")
    content = bytearray((tmp_path / "odd.dds").read_bytes())
    content[80:84] = bytes(4)  # a format of no pixels, at which Pillow says NotImplementedError
    (tmp_path / "odd.dds").rename(tmp_path / "odd.png")
    (tmp_path / "odd.png").write_bytes(content)
    data = folder(tmp_path).load()
    assert data.ids == ("good.png",)
    assert "its file is broken (NotImplementedError: " in reasons(data)["odd.png"]


def test_a_pipe_is_not_waited_for(tmp_path):
    picture(tmp_path / "good.png")
    os.mkfifo(tmp_path / "pipe.png")
    data = folder(tmp_path).load()
    assert data.ids == ("good.png",)
    assert reasons(data) == {"pipe.png": "ValueError: it is no file"}
    with pytest.raises(InputError, match=r"pipe\.png', but it cannot be read: it is no file"):
        ImageFile(path=str(tmp_path / "pipe.png")).load()


def test_links_out_of_the_folder_are_read_only_where_that_is_said(tmp_path):
    secret = picture(tmp_path / "private" / "me.png")
    root = tmp_path / "data"
    picture(root / "a" / "one.png", 1)
    (root / "a" / "two.png").symlink_to(secret)
    (root / "b").symlink_to(secret.parent)
    data = folder(root).load()
    assert data.ids == ("a/one.png",)
    said = "ValueError: it lies outside of the folder; set `outside` to read it all the same"
    assert reasons(data) == {"a/two.png": said, "b/me.png": said}
    data = folder(root, outside=True).load()
    assert data.ids == ("a/one.png", "a/two.png")
    assert reasons(data) == {"b/me.png": "ValueError: it is the same file as 'a/two.png'"}


def test_an_index_leads_out_of_the_folder_only_where_that_is_said(tmp_path):
    picture(tmp_path / "private.png")
    root = tmp_path / "data"
    picture(root / "own.png", 1)
    (root / "index.csv").write_text(f"file,index\nown.png,0\n../private.png,1\n{tmp_path / 'private.png'},1\n")
    data = folder(root, index="index.csv").load()
    assert data.ids == ("own.png",)
    assert len(data.skipped) == 2
    assert all("outside of the folder" in why for _, why in data.skipped)
    assert folder(root, index="index.csv", outside=True).load().ids == ("own.png", "../private.png")


def test_a_picture_counts_once_whatever_links_lead_to_it(tmp_path):
    one = picture(tmp_path / "one.png")
    (tmp_path / "two.png").symlink_to(one)
    (tmp_path / "three.png").hardlink_to(one)
    data = folder(tmp_path).load()
    assert data.ids == ("one.png",)
    assert set(reasons(data).values()) == {"ValueError: it is the same file as 'one.png'"}


def test_loops_of_links_end(tmp_path):
    picture(tmp_path / "a" / "one.png")
    (tmp_path / "a" / "self.png").symlink_to("self.png")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "b").symlink_to(tmp_path)  # no class: it is all of it again
    (tmp_path / "c").symlink_to("c")
    data = folder(tmp_path).load()
    assert (data.ids, data.classes) == (("a/one.png",), ("a",))
    assert list(reasons(data)) == ["a/self.png"]


def test_names_that_are_not_utf_8_can_be_written_down(tmp_path):
    (tmp_path / os.fsdecode(b"caf\xe9")).mkdir()
    picture(tmp_path / "good.png").rename(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9/\xff.png"))
    broken = tmp_path / os.fsdecode(b"caf\xe9") / os.fsdecode(b"\xfe.png")
    broken.write_bytes(b"no picture")
    data = folder(tmp_path).load()
    assert data.ids == ("caf\\udce9/\\udcff.png",)
    assert data.classes == ("caf\\udce9",)
    assert list(reasons(data)) == ["caf\\udce9/\\udcfe.png"]
    "".join([*data.ids, *data.classes, *(part for one in data.skipped for part in one)]).encode()


def test_ids_are_text_that_can_be_written_down():
    assert printable("Ä \ud800") == "Ä \\ud800"
    assert unique(["a", "\udcff"]) == ("a", "\\udcff")
