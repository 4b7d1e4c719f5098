"""`chaosext completion`: prints the script that makes a shell complete commands, options and their values."""

from __future__ import annotations

import click

from chaosext.cli.options import Names
from chaosext.model.printable import say_document

SHELLS = ("bash", "zsh", "fish")

COLONS = """
# A colon belongs to a word, as in example:story.
COMP_WORDBREAKS=${COMP_WORDBREAKS//:}
"""


@click.command()
@click.argument("shell", type=Names(SHELLS))
def completion(shell: str) -> None:
    """Print the completion script of SHELL: bash (4.4 or newer), zsh or fish.

    It completes commands and options, and values that can be known: contexts, mitigations, checks, bundled examples,
    ids of runs.

    \b
    Examples:
      source <(chaosext completion bash)                        in ~/.bashrc
      source <(chaosext completion zsh)                         in ~/.zshrc, after compinit
      chaosext completion fish > ~/.config/fish/completions/chaosext.fish
    """
    from click.shell_completion import get_completion_class

    from chaosext.cli.main import cli

    kind = get_completion_class(shell)
    assert kind is not None, shell  # noqa: S101  click has all of SHELLS
    script = kind(cli, {}, "chaosext", "_CHAOSEXT_COMPLETE").source()
    say_document(script + (COLONS if shell == "bash" else ""))
