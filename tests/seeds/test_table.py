"""docs/seeds.md tells of every row of the founding documents, and every proof it names is run."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import pytest

from tests.seeds import test_auth0, test_powerlynx, test_rxg, test_smscx, test_wso2

TABLE = (Path(__file__).parents[2] / "docs/seeds.md").read_text()
DOCUMENTS: list[tuple[str, str, int, ModuleType]] = [
    ("Powerlynx: custom SMS gateway", "P", 16, test_powerlynx),
    ("SMS.CX: OTP API", "C", 19, test_smscx),
    ("Auth0: own SMS gateway", "A", 26, test_auth0),
    ("WSO2: SMS OTP and providers", "W", 20, test_wso2),
    ("rXg: SMS integration", "R", 19, test_rxg),
]


def cells(title: str) -> list[list[str]]:
    """Return the rows of the table below a heading, as row, demand, answer and proof."""
    section = TABLE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if re.match(r"\| [A-Z]\d+ \|", line)]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


@pytest.mark.parametrize(("title", "letter", "count", "_"), DOCUMENTS)
def test_every_row_is_there_once(title: str, letter: str, count: int, _: ModuleType) -> None:
    rows = cells(title)
    assert [row[0] for row in rows] == [f"{letter}{number}" for number in range(1, count + 1)]
    assert {len(row) for row in rows} == {4}
    assert all(cell for row in rows for cell in row[:3])


@pytest.mark.parametrize(("title", "letter", "count", "module"), DOCUMENTS)
def test_proofs_are_those_that_are_run(title: str, letter: str, count: int, module: ModuleType) -> None:
    name = module.__name__.rpartition(".")[2]
    run = [f"tests/seeds/{name}.py::{name}[{row.id}]" for row in module.ROWS]
    named = []
    for row, _, _, proof in cells(title):
        proofs = re.findall(r"`([^`]+)`", proof)
        assert all(f"[{row}-" in each for each in proofs), row
        assert proofs, row
        named += proofs
    assert named == run
