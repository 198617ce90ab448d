"""`nnrun schema`: the JSON Schema of a spec."""

from __future__ import annotations

from nnrun.cli.output import print_json


def schema() -> None:
    """Print the JSON Schema of a spec, for editors that complete and check YAML."""
    from nnrun.spec.writing.json_schema import json_schema

    print_json(json_schema())
