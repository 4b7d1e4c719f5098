"""What is read and written where somebody else may have been before."""

from __future__ import annotations

import errno
import gzip
import os
import socket
import stat
import threading
import time
from contextlib import suppress
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaosext.model import files
from chaosext.model.files import (
    OWNER_ONLY,
    Folder,
    UnfitFile,
    append,
    read_file,
    unzipped,
    write_pieces,
    write_whole,
)


def make_trap(kind: str, place: Path, victim: Path) -> None:
    """Put something other than a file at `place`."""
    if kind == "link":
        place.symlink_to(victim)
    elif kind == "dangling link":
        place.symlink_to(victim.with_name("not there"))
    elif kind == "hard link":
        place.hardlink_to(victim)
    elif kind == "pipe":
        os.mkfifo(place)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(str(place))
    elif kind == "directory":
        place.mkdir()
    else:
        os.mknod(place, stat.S_IFCHR | 0o600, os.makedev(1, 3))


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    path = tmp_path / "victim"
    path.write_text("as it was")
    return path


@pytest.mark.parametrize("kind", ["link", "dangling link", "hard link"])
def test_write_replaces_a_link_and_leaves_what_it_led_to(tmp_path: Path, victim: Path, kind: str) -> None:
    place = tmp_path / "foreign"
    place.mkdir()
    make_trap(kind, place / "summary.md", victim)
    write_whole(place / "summary.md", "new", fsync=False)
    assert victim.read_text() == "as it was"
    assert (place / "summary.md").read_text() == "new"
    assert not (place / "summary.md").is_symlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["foreign", "victim"]


@pytest.mark.parametrize("kind", ["pipe", "socket", "directory", "device"])
def test_write_refuses_to_replace_what_is_not_a_file(
    tmp_path: Path, victim: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's path is short
    try:
        make_trap(kind, Path("target"), victim)
    except PermissionError:
        pytest.skip("only root makes devices")
    before = Path("target").lstat()
    with pytest.raises(UnfitFile, match="would be replaced"):
        write_whole(Path("target"), "new", fsync=False)
    assert Path("target").lstat()[:2] == before[:2]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["target", "victim"]


@pytest.mark.parametrize("leads_to", ["/dev/null", "/dev/full", "/tmp", "out"])
def test_write_replaces_no_link_to_a_device_a_directory_or_itself(tmp_path: Path, leads_to: str) -> None:
    """`-o /dev/stdout`, as root, would leave a machine without one."""
    (tmp_path / "out").symlink_to(leads_to)
    with pytest.raises(OSError):
        write_whole(tmp_path / "out", "x", fsync=False)
    assert (tmp_path / "out").is_symlink()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_write_uses_a_name_that_nobody_can_plant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names: list[str] = []
    replace = os.replace
    monkeypatch.setattr(
        os, "replace", lambda old, new, **more: (names.append(old), replace(old, new, **more))
    )
    for _ in range(3):
        write_whole(tmp_path / "file", "x", fsync=False)
    assert len(set(names)) == 3
    assert all(len(name) > 20 for name in names)


def test_write_that_finds_its_temporary_name_taken_fails(
    tmp_path: Path, victim: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files.secrets, "token_hex", lambda _: "same")
    (tmp_path / ".file.same.tmp").symlink_to(victim)
    with pytest.raises(FileExistsError):
        write_whole(tmp_path / "file", "x", fsync=False)
    assert victim.read_text() == "as it was"


def test_write_leaves_nothing_behind_when_the_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "file").write_text("old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_whole(tmp_path / "file", "new", fsync=True)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "old"


@pytest.mark.parametrize("asked", [True, False])
def test_write_syncs_file_and_directory_only_when_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: bool
) -> None:
    synced: list[bool] = []
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(stat.S_ISDIR(os.fstat(handle).st_mode)))
    write_whole(tmp_path / "file", "x", fsync=asked)
    append(tmp_path / "other", "x", fsync=asked)
    assert synced == ([False, True] * 2 if asked else [])


def test_write_gives_a_file_the_mode_that_was_asked_for(tmp_path: Path) -> None:
    write_whole(tmp_path / "file", "x", fsync=False, mode=OWNER_ONLY)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o600


def test_write_stays_in_its_folder_when_that_is_renamed(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    with Folder(tmp_path / "one") as folder:
        (tmp_path / "one").rename(tmp_path / "moved")
        (tmp_path / "one").symlink_to(tmp_path)
        folder.write("file", "x", fsync=False)
        assert (folder.inside / "file").read_text() == "x"
    assert (tmp_path / "moved" / "file").read_text() == "x"
    assert not (tmp_path / "file").exists()


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/etc/passwd", "a\0b"])
def test_folder_takes_no_path_for_a_name(tmp_path: Path, name: str) -> None:
    with Folder(tmp_path) as folder:
        for act in (
            lambda: folder.read(name, most=10),
            lambda: folder.write(name, "x", fsync=False),
            lambda: folder.folder(name),
        ):
            with pytest.raises(OSError, match="is not the name of a file"):
                act()


@pytest.mark.parametrize("kind", ["link", "pipe", "socket", "directory", "device"])
def test_folder_reads_nothing_but_files_and_never_waits(
    tmp_path: Path, victim: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    try:
        make_trap(kind, Path("trap"), victim)
    except PermissionError:
        pytest.skip("only root makes devices")
    with Folder(tmp_path) as folder:
        assert not folder.has("trap")
        with pytest.raises(OSError):
            folder.read("trap", most=100)
        with pytest.raises(OSError):
            list(folder.lines("trap", longest=10, most=100))
        with pytest.raises(OSError):
            os.close(folder.open_to_append("trap"))


def test_folder_enters_no_link(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "sentinels").symlink_to(tmp_path / "elsewhere")
    with Folder(tmp_path / "run") as folder, pytest.raises(OSError):
        folder.folder("sentinels")


def test_read_stops_at_its_bound_whatever_the_file_costs(tmp_path: Path) -> None:
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(1 << 40)
    with Folder(tmp_path) as folder:
        for read in (
            lambda: folder.read("sparse", most=1 << 20),
            lambda: list(folder.lines("sparse", longest=1 << 10, most=1 << 20)),
            lambda: read_file(tmp_path / "sparse", most=1 << 20),
        ):
            with pytest.raises(UnfitFile, match="has more than 1 MiB"):
                read()


def test_lines_of_any_length_come_one_by_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"one\r\n" + b"x" * 1000 + b"\n\ntwo\nx" + b"y" * 5 + b"\n\xff\nend")
    with Folder(tmp_path) as folder:
        assert list(folder.lines("file", longest=5, most=10_000)) == [
            "one",
            "",
            "",
            "two",
            "",
            "\ufffd",
            "end",
        ]


def test_names_are_bounded(tmp_path: Path) -> None:
    for number in range(20):
        (tmp_path / f"{number:02}.jsonl").touch()
    with Folder(tmp_path) as folder:
        assert len(folder.names(".jsonl", most=5)) == 5
        assert folder.names(".json", most=5) == []


def test_a_named_pipe_is_read_while_somebody_writes(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    def write() -> None:
        time.sleep(0.1)
        with (tmp_path / "pipe").open("w") as into:
            into.write("a: 1\n")
            into.flush()
            time.sleep(0.1)
            into.write("b: 2\n")

    writing = threading.Thread(target=write)
    writing.start()
    assert read_file(tmp_path / "pipe", within_s=20.0) == b"a: 1\nb: 2\n"
    writing.join()


@pytest.mark.parametrize("held", [False, True])
def test_a_pipe_that_nobody_ends_is_not_waited_for(tmp_path: Path, held: bool) -> None:
    os.mkfifo(tmp_path / "pipe")
    writer = os.open(tmp_path / "pipe", os.O_RDWR) if held else None
    with pytest.raises(UnfitFile, match=r"gave nothing within 0\.2 s"):
        read_file(tmp_path / "pipe", within_s=0.2)
    if writer is not None:
        os.close(writer)


def test_a_pipe_without_an_end_takes_no_more_than_its_bound() -> None:
    reads, writes = os.pipe()

    def write() -> None:
        with suppress(BrokenPipeError):
            while True:
                os.write(writes, bytes(1 << 16))

    writing = threading.Thread(target=write, daemon=True)
    writing.start()
    with pytest.raises(UnfitFile, match="has more than 1 MiB"):
        read_file(Path(f"/proc/self/fd/{reads}"), most=1 << 20, within_s=20.0)
    os.close(reads)
    writing.join()
    os.close(writes)


@pytest.mark.parametrize("place", ["/dev/zero", "/dev/null", "/tmp"])
def test_a_device_or_directory_is_not_read(place: str) -> None:
    with pytest.raises(UnfitFile, match=r"is a (device|directory), not a file"):
        read_file(Path(place))


def test_gzip_is_unpacked_block_by_block(tmp_path: Path) -> None:
    write_pieces(tmp_path / "file.gz", ["a" * 1000, "b\n"] * 3000, fsync=False, gzipped=True)
    data = (tmp_path / "file.gz").read_bytes()
    assert b"".join(unzipped(BytesIO(data), tmp_path)) == (b"a" * 1000 + b"b\n") * 3000


@pytest.mark.parametrize("between", [b"", bytes(10), bytes(3 << 20)])
def test_gzip_files_put_together_are_one(between: bytes) -> None:
    """As gzip(1) and Python read them, with zeros after each, such as a tape or a sparse file has."""
    data = between.join((gzip.compress(b"one"), gzip.compress(b""), gzip.compress(b"two"))) + between
    assert b"".join(unzipped(BytesIO(data), Path("x.gz"))) == b"onetwo" == gzip.decompress(data)


@given(st.binary(max_size=3000), st.integers(0, 9), st.integers(1, 50))
def test_gzip_is_unpacked_whatever_the_blocks(content: bytes, level: int, times: int) -> None:
    data = gzip.compress(content * times, level)
    assert b"".join(unzipped(BytesIO(data), Path("x.gz"))) == content * times


def test_a_gzip_bomb_is_defused_before_it_is_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "EXPANSION_FREE_BYTES", 4 << 20)
    bomb = gzip.compress(bytes(64 << 20))
    blocks: list[int] = []
    with pytest.raises(UnfitFile, match="expands to more than 200 times"):
        blocks.extend(map(len, unzipped(BytesIO(bomb), Path("bomb.gz"))))
    assert sum(blocks) <= 8 << 20


@pytest.mark.parametrize("damage", [lambda data: data[:-9], lambda data: data[:30] + b"\0\0" + data[32:]])
def test_a_damaged_gzip_file_says_so(damage: object) -> None:
    data = damage(gzip.compress(os.urandom(1000)))  # type: ignore[operator]
    with pytest.raises(UnfitFile, match=r"cut off|damaged"):
        list(unzipped(BytesIO(data), Path("x.gz")))


def test_append_cuts_off_what_a_full_disk_took_in_part(tmp_path: Path) -> None:
    append(tmp_path / "file", "whole\n", fsync=False)
    append(tmp_path / "file", "ha", fsync=False)
    append(tmp_path / "file", "next\n", fsync=False)
    assert (tmp_path / "file").read_text() == "whole\nha\nnext\n"
    append(tmp_path / "file", "again\n", fsync=False, after=6)
    assert (tmp_path / "file").read_text() == "whole\nagain\n"


def test_a_folder_that_is_dropped_gives_its_descriptor_back(tmp_path: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(50):
        Folder(tmp_path)
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 2
