from __future__ import annotations

import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from chaosext.model.errors import Refused
from chaosext.safety.pins import IDENTITY, Pin, pins_path, read_pins, remove_pin, verify, write_pin

PIN = Pin(context="kind-a", server="https://127.0.0.1:6443", ca_sha256="ab12", kube_system_uid="0000-1111")


def test_the_pinned_cluster_is_accepted() -> None:
    verify(PIN, replace(PIN))
    verify(replace(PIN, production=True), PIN)  # what its owner says of it makes it no other


@pytest.mark.parametrize("field", IDENTITY)
def test_any_other_cluster_is_refused_naming_what_differs(field: str) -> None:
    with pytest.raises(Refused) as caught:
        verify(PIN, replace(PIN, **{field: "other"}))
    assert f"{field} is other, pinned is {getattr(PIN, field)}" in caught.value.message
    assert not any(f"{other} is" in caught.value.message for other in IDENTITY if other != field)


def test_pins_are_kept_by_context_in_a_private_file(tmp_path: Path) -> None:
    path = tmp_path / "config" / "pins.json"
    other = replace(PIN, context="kind-b")
    write_pin(PIN, path)
    write_pin(other, path)
    write_pin(replace(PIN, server="https://new"), path)
    assert read_pins(path) == {"kind-a": replace(PIN, server="https://new"), "kind-b": other}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in path.parent.iterdir()] == ["pins.json"]


def test_a_removed_pin_is_forgotten(tmp_path: Path) -> None:
    write_pin(PIN, tmp_path / "pins.json")
    remove_pin("kind-none", tmp_path / "pins.json")
    remove_pin("kind-a", tmp_path / "pins.json")
    assert read_pins(tmp_path / "pins.json") == {}


def test_a_write_that_fails_leaves_the_old_pins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "pins.json"
    write_pin(PIN, path)

    def full(_: int) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="no space left"):
        write_pin(replace(PIN, context="kind-b"), path)
    assert read_pins(path) == {"kind-a": PIN}
    assert [file.name for file in tmp_path.iterdir()] == ["pins.json"]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        pytest.param("[" * 100_000, id="deep"),
        "not json",
        '{"kind-a": {}}',
        '{"kind-a": {"server": 1, "x": 2}}',
        "3",
    ],
)
def test_pins_that_can_not_be_read_are_no_permission(tmp_path: Path, content: str) -> None:
    path = tmp_path / "pins.json"
    path.write_text(content)
    with pytest.raises(Refused, match="can't be read"):
        read_pins(path)


def test_no_file_means_no_pins(tmp_path: Path) -> None:
    assert read_pins(tmp_path / "pins.json") == {}


def test_the_file_is_where_the_desktop_standard_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert pins_path() == tmp_path / "chaosext" / "pins.json"
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert pins_path() == tmp_path / ".config" / "chaosext" / "pins.json"


def test_every_difference_is_told_and_what_to_do() -> None:
    with pytest.raises(Refused) as refused:
        verify(PIN, replace(PIN, server="https://x", ca_sha256="cd"))
    assert refused.value.message == (
        "context kind-a leads to another cluster than the pinned one: server is https://x, pinned is "
        "https://127.0.0.1:6443; ca_sha256 is cd, pinned is ab12"
    )
    assert refused.value.fix == (
        "check the kubeconfig; if this cluster is right, run `chaosext pin --context kind-a --replace`"
    )


def test_pins_that_can_not_be_read_are_refused_with_a_fix(tmp_path: Path) -> None:
    path = tmp_path / "pins.json"
    path.write_text("[1]")
    with pytest.raises(Refused) as refused:
        read_pins(path)
    assert refused.value.message.startswith(f"the pins in {path} can't be read (")
    assert refused.value.fix == "repair the file or remove it"


def test_removing_says_whether_there_was_one_and_keeps_the_others(tmp_path: Path) -> None:
    path, other = tmp_path / "pins.json", replace(PIN, context="kind-b")
    write_pin(PIN, path)
    write_pin(other, path)
    assert remove_pin("kind-a", path) is True
    assert remove_pin("kind-a", path) is False
    assert read_pins(path) == {"kind-b": other}


def test_the_file_is_for_people_too_and_its_directory_private(tmp_path: Path) -> None:
    path = tmp_path / "config" / "pins.json"
    write_pin(PIN, path)
    assert path.read_text().startswith('{\n  "kind-a": {\n    "context": "kind-a",\n')
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_the_new_file_is_made_beside_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that it replaces it at once, whatever file system holds temporary files."""
    renamed: list[tuple[str, Path, Path]] = []
    replace = os.replace

    def spy(old: str, new: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        renamed.append(
            (new, *(Path(f"/proc/self/fd/{each}").readlink() for each in (src_dir_fd, dst_dir_fd)))
        )
        replace(old, new, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)

    monkeypatch.setattr(os, "replace", spy)
    write_pin(PIN, tmp_path / "pins.json")
    assert renamed == [("pins.json", tmp_path, tmp_path)]


def test_directories_are_made_as_deep_as_it_takes(tmp_path: Path) -> None:
    write_pin(PIN, tmp_path / "a" / "b" / "pins.json")
    assert read_pins(tmp_path / "a" / "b" / "pins.json") == {"kind-a": PIN}
