"""Layers and archives: what Docker and containerd will read, and that the same inputs give the same bytes."""

from __future__ import annotations

import hashlib
import json
import tarfile
from typing import TYPE_CHECKING

from chaosext.testbed.archive import Image, LayerEntry, write_archive, write_layer

if TYPE_CHECKING:
    from pathlib import Path


def layer(directory: Path, name: str, *entries: LayerEntry) -> Path:
    target = directory / f"{name}.tar"
    write_layer(target, entries)
    return target


def test_layer_holds_files_texts_links_and_directories(tmp_path: Path) -> None:
    binary = tmp_path / "binary"
    binary.write_bytes(b"\x7fELF")
    tar = layer(
        tmp_path,
        "layer",
        LayerEntry(path="usr/bin/tool", source=binary),
        LayerEntry(path="usr/bin/alias", hardlink="usr/bin/tool"),
        LayerEntry(path="bin", symlink="usr/bin"),
        LayerEntry(path="etc/words", text="héllo\n", mode=0o644),
        LayerEntry(path="var/data", mode=0o777, uid=1337),
    )
    with tarfile.open(tar) as opened:
        members = {member.name: member for member in opened}
        tool, words = opened.extractfile("usr/bin/tool"), opened.extractfile("etc/words")
        assert tool is not None
        assert tool.read() == b"\x7fELF"
        assert words is not None
        assert words.read().decode() == "héllo\n"
    assert members["usr/bin/tool"].mode == 0o755
    assert members["etc/words"].mode == 0o644
    assert members["usr/bin/alias"].islnk()
    assert members["usr/bin/alias"].linkname == "usr/bin/tool"
    assert members["bin"].issym()
    assert members["var/data"].isdir()
    assert (members["var/data"].uid, members["var/data"].mode) == (1337, 0o777)


def test_same_inputs_same_bytes(tmp_path: Path) -> None:
    entry = LayerEntry(path="a", text="x")
    first, second = layer(tmp_path, "first", entry), layer(tmp_path, "second", entry)
    assert first.read_bytes() == second.read_bytes()
    for name, tar in (("1", first), ("2", second)):
        write_archive(tmp_path / f"{name}.tar", [Image(names=("x:1",), layers=(tar,))])
    assert (tmp_path / "1.tar").read_bytes() == (tmp_path / "2.tar").read_bytes()


def test_archive_names_images_and_stores_a_shared_layer_once(tmp_path: Path) -> None:
    base, top = (
        layer(tmp_path, "base", LayerEntry(path="a", text="a")),
        layer(tmp_path, "top", LayerEntry(path="b", text="b")),
    )
    images = [
        Image(names=("reg/one:1", "reg/one:latest"), layers=(base, top), config={"Entrypoint": ["/b"]}),
        Image(names=("reg/two:1",), layers=(base,)),
    ]
    write_archive(tmp_path / "images.tar", images)
    with tarfile.open(tmp_path / "images.tar") as archive:
        names = archive.getnames()
        contents = {name: file.read() for name in names if (file := archive.extractfile(name))}
    assert len(names) == len(set(names)) == 2 + 2 + 1  # layers, configurations, manifest.json
    one, two = json.loads(contents["manifest.json"])
    assert one["RepoTags"] == ["reg/one:1", "reg/one:latest"]
    assert one["Layers"][0] == two["Layers"][0]
    for described in (one, two):
        config = json.loads(contents[described["Config"]])
        assert described["Config"] == f"{hashlib.sha256(contents[described['Config']]).hexdigest()}.json"
        digests = [f"sha256:{hashlib.sha256(contents[name]).hexdigest()}" for name in described["Layers"]]
        assert config["rootfs"] == {"type": "layers", "diff_ids": digests}
    assert json.loads(contents[one["Config"]])["config"] == {"Entrypoint": ["/b"]}
