"""What the check of an exercise says, and the cells of the pages that call it."""

import dataclasses
import json
from pathlib import Path

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"


def said(check, answer, capsys):
    """What a fresh copy of the exercise says, so that no attempt is carried to another test."""
    dataclasses.replace(check, attempts=0, passed=False)(answer)
    return capsys.readouterr().out


def code_of(lesson):
    """The code cells of the page of a lesson ("01") as texts."""
    (path,) = NOTEBOOKS.glob(f"{lesson}_*.ipynb")
    cells = json.loads(path.read_text("utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


def cell_of(lesson, name):
    """The one cell of the page that ends with the check `name`."""
    call = f"check.{name}("
    (cell,) = [cell for cell in code_of(lesson) if cell.split("\n")[-1].startswith(call)]
    return cell
