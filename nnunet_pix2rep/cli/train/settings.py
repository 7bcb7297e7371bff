"""``nnunet_pix2rep settings``: every setting of the plans' block ``pix2rep``."""

from __future__ import annotations

import argparse
import json

HELP = "List every setting with its default, range, meaning and source (Markdown)."

INTRODUCTION = """# Settings

The optional block `"pix2rep"` of a configuration in nnU-Net's plans file holds them; what is not there has its default.
`nnunet_pix2rep plan ... --set pretraining.head.channels=64` writes a plans file with such a block. Values are JSON.
Those of the pretraining are in parts. A name from before that, such as `pretraining.temperature`, is refused with the
name of now; checkpoints from before are read as they are.

This page is the output of `nnunet_pix2rep settings`.

Sources: v1 is Pix2Rep (arXiv 2407.20395), v2 is Pix2Rep-v2 (arXiv 2609.01427), nnU-Net is nnunetv2 2.8.1.
Experiments are numbered as in docs/experiments/diary.md."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Takes no arguments."""


def run(arguments: argparse.Namespace) -> int:  # noqa: ARG001
    """Prints the page."""
    print(settings_page(), end="")
    return 0


def settings_page() -> str:
    """The settings as a page of Markdown, one table for each part."""
    from dataclasses import fields, is_dataclass
    from typing import get_type_hints

    from nnunet_pix2rep.config import Pix2RepConfig
    from nnunet_pix2rep.config.fields import Expected, parts_of

    blocks = [INTRODUCTION]
    for part_name, part_class in parts_of(Pix2RepConfig):
        hints = get_type_hints(part_class)
        rows = [
            f"| `{part_name}.{item.name}` | `{json.dumps(item.default)}` | {Expected.of(item, hints[item.name])} "
            f"| {item.metadata['meaning']} | {item.metadata['source']} |"
            for item in fields(part_class)
            if not is_dataclass(hints[item.name])
        ]
        header = ["| setting | default | value | meaning | source |", "| --- | --- | --- | --- | --- |"]
        blocks.append("\n".join([f"## {part_name}", "", *header, *rows]))
    return "\n\n".join(blocks) + "\n"
