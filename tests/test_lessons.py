"""What a lesson asserts holds for other seeds, too: its page runs again with each of them.

Slow, so only on demand: `pytest -m slow`.
"""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
SEED = "manual_seed(0)"


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_the_claims_of_a_page_hold_for_another_seed(path, seed):
    page = nbformat.read(path, as_version=4)
    code = [cell for cell in page.cells if cell.cell_type == "code"]
    assert any(SEED in cell.source for cell in code)
    for cell in code:
        cell.source = cell.source.replace(SEED, f"manual_seed({seed})")
    NotebookClient(page, timeout=600, resources={"metadata": {"path": str(NOTEBOOKS)}}).execute()
