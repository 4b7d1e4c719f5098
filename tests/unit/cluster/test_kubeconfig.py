from __future__ import annotations

from pathlib import Path

import pytest

from chaosext.cluster.kubeconfig import kubeconfig_files


@pytest.mark.parametrize(
    ("said", "files"),
    [
        (None, ["/home/alice/.kube/config"]),
        ("", ["/home/alice/.kube/config"]),
        ("/a:~/b", ["/a", "/home/alice/b"]),
        (":/a:", ["/a"]),
    ],
)
def test_they_are_those_that_the_variable_names_or_the_home_has(
    said: str | None, files: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/alice")
    monkeypatch.delenv("KUBECONFIG", raising=False)
    if said is not None:
        monkeypatch.setenv("KUBECONFIG", said)
    assert kubeconfig_files() == tuple(map(Path, files))


def test_a_kubeconfig_that_is_named_is_read_instead() -> None:
    assert kubeconfig_files("/c") == (Path("/c"),)
