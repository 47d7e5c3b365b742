"""Ready-made settings for providers that the custom gateway can serve: data, in ``presets.toml``."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from importlib import resources
from typing import Any

_ABOUT = ("help", "needs")
"""What a table there says besides settings: what it is, and which settings are the operator's to add."""


@functools.cache
def _tables() -> Mapping[str, Mapping[str, Any]]:
    return tomllib.loads(resources.files("portald.sms").joinpath("presets.toml").read_text("utf-8"))


def preset(name: str) -> Mapping[str, Any] | None:
    """Return the settings of the custom gateway for a provider; ``None`` if there are none."""
    table = _tables().get(name)
    return table and {key: value for key, value in table.items() if key not in _ABOUT}


def described() -> dict[str, tuple[str, tuple[str, ...]]]:
    """Return what each preset is, and the settings that the operator has to add."""
    return {name: (table["help"], tuple(table["needs"])) for name, table in _tables().items()}
