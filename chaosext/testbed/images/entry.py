"""The image of the entry and of its customers: Envoy, as kind's load balancer has it, and our own `customers`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaosext.testbed import versions
from chaosext.testbed.cache import key_of
from chaosext.testbed.images import recipes
from chaosext.testbed.images.components import LOCAL
from chaosext.testbed.images.docker import commit_with_file, image_field, is_loaded
from chaosext.testbed.images.gobuild import ensure_go_commands

if TYPE_CHECKING:
    from chaosext.testbed.progress import Progress

BASE = versions.KIND_LOADBALANCER_IMAGE
CUSTOMERS = "/usr/local/bin/customers"
CHANGES = ("ENTRYPOINT []", "CMD []")


def ensure_entry_image(progress: Progress) -> str:
    """The image's name in the Docker engine; built now unless it is there. Its base came with the other images.

    Raises `CommandFailed` when it can't be built.
    """
    customers = ensure_go_commands(recipes.own("customers"), progress) / "customers"
    name = f"{LOCAL}/entry:{key_of([str(customers), image_field(BASE, '{{.Id}}')])}"
    if not is_loaded(name):
        with progress.stage("Put the entry's image together"):
            commit_with_file(name, BASE, customers, CUSTOMERS, CHANGES)
    return name
