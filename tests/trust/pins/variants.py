"""In which ways a context may lead elsewhere, or nobody knows where: each before a run, and while it runs."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from chaosext.safety.pins import pins_path, remove_pin
from tests.trust.pins.bed import MINE, OTHER_UID, kubeconfig

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.trust.pins.bed import Bed


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """What is wrong, and how to make it so. `context` is the one that the experiment names."""

    name: str
    spoil: Callable[[Bed], object]
    context: str = MINE


def _renamed(bed: Bed) -> None:
    bed.kubeconfig["contexts"][0]["name"] = "renamed"
    bed.write_kubeconfig()


def _second_of_two(bed: Bed) -> None:
    """The first file of the list that knows the context decides, as for kubectl."""
    own = bed.kubeconfig
    bed.kubeconfig = kubeconfig(bed.url("other"), bed.authority("a"))
    first, bed.kubeconfig = bed.write_kubeconfig("first"), own
    os.environ["KUBECONFIG"] = os.pathsep.join([str(first), str(bed.write_kubeconfig())])


def _current_is_mine(bed: Bed) -> None:
    """The current context is the pinned one, but another is named."""
    bed.kubeconfig["contexts"].append({"name": "else", "context": {"cluster": "else", "user": "u"}})
    bed.kubeconfig["clusters"].append(
        {"name": "else", "cluster": {"server": bed.url("other"), "certificate-authority": bed.authority("a")}}
    )
    bed.write_kubeconfig()


def _both_authorities(bed: Bed) -> None:
    """The right one is trusted, and another one as well."""
    both = bed.home / "both.pem"
    both.write_text(Path(bed.authority("a")).read_text() + Path(bed.authority("b")).read_text())
    bed.leads_to(**{"certificate-authority": str(both)})


def _without_authority(bed: Bed) -> None:
    del bed.cluster["certificate-authority"]
    bed.write_kubeconfig()


def _pins_are(text: str) -> Callable[[Bed], object]:
    return lambda _: pins_path().write_text(text)


def _half_a_pin(_: Bed) -> None:
    text = pins_path().read_text()
    pins_path().write_text(text[: len(text) // 2])


def _directory_for_pins(_: Bed) -> None:
    pins_path().unlink()
    pins_path().mkdir()


def _pin_without(key: str) -> Callable[[Bed], object]:
    def spoil(_: Bed) -> None:
        pins = json.loads(pins_path().read_text())
        del pins[MINE][key]
        pins_path().write_text(json.dumps(pins))

    return spoil


def _swapped(bed: Bed) -> None:
    """The file is another one, with a context of the same name."""
    bed.kubeconfig = kubeconfig(bed.url("other"), bed.authority("a"))
    bed.write_kubeconfig()


def _made_anew(bed: Bed) -> None:
    bed.servers["mine"].world.uid = OTHER_UID


VARIANTS = (
    Variant(name="a context that the kubeconfig has not", spoil=lambda _: None, context="typo"),
    Variant(name="not pinned", spoil=lambda _: remove_pin(MINE)),
    Variant(name="context renamed", spoil=_renamed, context="renamed"),
    Variant(name="another context named than the current", spoil=_current_is_mine, context="else"),
    Variant(
        name="another URL of the same server", spoil=lambda bed: bed.leads_to(server=bed.url("mine") + "/x")
    ),
    Variant(
        name="another server of the same authority", spoil=lambda bed: bed.leads_to(server=bed.url("other"))
    ),
    Variant(name="kubeconfig swapped", spoil=_swapped),
    Variant(name="first of two kubeconfigs leads elsewhere", spoil=_second_of_two),
    Variant(name="nothing answers there", spoil=lambda bed: bed.leads_to(server="https://127.0.0.1:1")),
    Variant(
        name="another authority with the same URL",
        spoil=lambda bed: bed.leads_to(**{"certificate-authority": bed.authority("b")}),
    ),
    Variant(name="one authority more", spoil=_both_authorities),
    Variant(name="no authority", spoil=_without_authority),
    Variant(name="another authority's server", spoil=lambda bed: bed.leads_to(server=bed.url("imposter"))),
    Variant(
        name="another authority's server, and authority",
        spoil=lambda bed: bed.leads_to(
            server=bed.url("imposter"), **{"certificate-authority": bed.authority("b")}
        ),
    ),
    Variant(name="TLS not verified", spoil=lambda bed: bed.leads_to(**{"insecure-skip-tls-verify": True})),
    Variant(name="no TLS", spoil=lambda bed: bed.leads_to(server=bed.url("mine").replace("https", "http"))),
    Variant(name="cluster made anew: another UID", spoil=_made_anew),
    Variant(name="pins are no JSON", spoil=_pins_are("mine: x")),
    Variant(name="pins are no pins", spoil=_pins_are('{"mine": ["x"]}')),
    Variant(name="half a file of pins", spoil=_half_a_pin),
    Variant(name="a directory in the place of pins", spoil=_directory_for_pins),
    Variant(name="pin without UID", spoil=_pin_without("kube_system_uid")),
    Variant(name="pin without authority", spoil=_pin_without("ca_sha256")),
)
