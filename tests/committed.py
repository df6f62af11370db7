"""The pages as they are committed."""

import subprocess
from pathlib import Path


def text(page: Path) -> str:
    """What git is about to keep of a page; outside git, what its file holds.

    A page that somebody ran and saved in JupyterLab is no fault of the repository.
    """
    command = ["git", "show", f":./{page.name}"]
    found = subprocess.run(command, cwd=page.parent, capture_output=True)
    return (found.stdout if found.returncode == 0 else page.read_bytes()).decode("utf-8")
