"""A throwaway JupyterLab server and a headless chromium, shut off from the network.

    with jupyter(folder) as lab, chromium() as page:
        open_notebook(page, lab, "page.ipynb")
        run_all(page)

Everything the server writes goes into a temporary folder; only loopback requests leave the page.
"""

import contextlib
import json
import os
import pathlib
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass

import nbformat
import pytest

SETTINGS = {
    "@jupyterlab/apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "@jupyterlab/notebook-extension/tracker": {"windowingMode": "none"},
}
DARK = {"@jupyterlab/apputils-extension/themes": {"theme": "JupyterLab Dark"}}
LOOPBACK = ("http://127.0.0.1", "ws://127.0.0.1", "data:", "blob:")
IDLE = """(name) => {
    const w = window.jupyterapp.shell.currentWidget;
    return w && w.context && w.context.path === name && w.context.isReady
        && w.sessionContext.session?.kernel?.status === 'idle';
}"""
ALL_RUN = """() => {
    const w = window.jupyterapp.shell.currentWidget;
    const code = w.content.widgets.filter(
        (c) => c.model.type === 'code' && c.model.sharedModel.getSource().trim());
    return w.sessionContext.session.kernel.status === 'idle'
        && code.every((c) => c.model.executionCount !== null);
}"""
ERRORS = """() => window.jupyterapp.shell.currentWidget.content.widgets
    .filter((c) => c.model.type === 'code')
    .flatMap((c) => c.model.outputs.toJSON())
    .filter((o) => o.output_type === 'error').map((o) => `${o.ename}: ${o.evalue}`)"""
# the first background that is not transparent, and the colour of the text
COLOURS = """(e) => {
    const ink = getComputedStyle(e).color;
    while (getComputedStyle(e).backgroundColor === 'rgba(0, 0, 0, 0)') e = e.parentElement;
    return [getComputedStyle(e).backgroundColor, ink];
}"""
DONE = f"() => ({ALL_RUN})() || ({ERRORS})().length > 0"  # an error ends the run


@dataclass(frozen=True)
class Server:
    """Where a server listens, and the secret that opens it."""

    url: str
    token: str


def chromium_path() -> str:
    """The installed chromium; skips the test where there is none."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    return found or pytest.skip("no chromium found; `apt-get install -y chromium` brings it")


@contextlib.contextmanager
def jupyter(folder: pathlib.Path, dark: bool = False) -> Iterator[Server]:
    """Serve a copy of `folder` with JupyterLab on a free loopback port."""
    with tempfile.TemporaryDirectory(prefix="course-lab-", ignore_cleanup_errors=True) as place:
        home = pathlib.Path(place)
        shutil.copytree(folder, home / "work")
        for plugin, values in (SETTINGS | (DARK if dark else {})).items():
            path = home / "settings" / f"{plugin}.jupyterlab-settings"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(values))
        token = secrets.token_hex(16)
        with (home / "log").open("w") as log:
            process = subprocess.Popen(
                _command(home),
                env=_environment(home, token),
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        try:
            yield Server(_wait_for_url(process, home, token), token)
        finally:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextlib.contextmanager
def chromium(width: int = 1280, height: int = 900):
    """A page of a headless chromium; `page.problems` collects errors and blocked requests."""
    sync_api = pytest.importorskip("playwright.sync_api")
    path = chromium_path()
    with sync_api.sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-dev-shm-usage"]
        browser = playwright.chromium.launch(executable_path=path, args=flags)
        context = browser.new_context(viewport={"width": width, "height": height})
        page = context.new_page()
        page.problems = []

        def gate(route) -> None:
            if route.request.url.startswith(LOOPBACK):
                route.continue_()
            else:
                page.problems.append(f"blocked request: {route.request.url}")
                route.abort()

        def heard(message) -> None:
            if message.type == "error":
                page.problems.append(f"console: {message.text[:300]}")

        context.route("**/*", gate)
        page.on("pageerror", lambda error: page.problems.append(f"page: {error}"))
        page.on("console", heard)
        yield page
        browser.close()


def open_notebook(page, server: Server, name: str) -> None:
    """Open a notebook of the server's folder and wait for its idle kernel."""
    address = f"{server.url}lab/tree/{name}?token={server.token}&reset"
    page.goto(address, wait_until="domcontentloaded")
    page.wait_for_function("window.jupyterapp && window.jupyterapp.restored", timeout=60_000)
    page.evaluate("() => window.jupyterapp.restored.then(() => true)")
    page.wait_for_function(IDLE, arg=name, timeout=60_000)


def run_all(page, seconds: float = 900) -> None:
    """Forget all outputs, run every cell, wait for its execution count; a cell's error fails."""
    page.evaluate("() => window.jupyterapp.commands.execute('notebook:clear-all-cell-outputs')")
    page.evaluate("() => window.jupyterapp.commands.execute('notebook:run-all-cells')")
    page.wait_for_function(DONE, timeout=1000 * seconds)
    errors = page.evaluate(ERRORS)
    assert errors == [], errors


@contextlib.contextmanager
def running(folder: pathlib.Path, title: str, *code: str):
    """A page with this title and these cells, run in JupyterLab; it has to end without problems."""
    chromium_path()
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    cells = [nbformat.v4.new_markdown_cell(title), *map(nbformat.v4.new_code_cell, code)]
    notebook = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})
    nbformat.write(notebook, folder / "page.ipynb")
    with jupyter(folder) as server, chromium() as page:
        open_notebook(page, server, "page.ipynb")
        run_all(page)
        yield page
        assert page.problems == []


def read_group(page, starts: str) -> str:
    """The text of the widget's picture, once its label begins like this."""
    picture = page.locator(f"[role=group][aria-label^='{starts}']")
    picture.wait_for(timeout=20_000)
    return picture.inner_text()


def screenshot(page, path: pathlib.Path) -> None:
    """Save what the window shows."""
    page.screenshot(path=str(path))


def _command(home: pathlib.Path) -> list[str]:
    return [
        *(sys.executable, "-m", "jupyter", "lab", "--no-browser", "--allow-root"),
        *("--ServerApp.ip=127.0.0.1", "--ServerApp.port=0", "--expose-app-in-browser"),
        *(f"--ServerApp.root_dir={home / 'work'}", "--LabApp.extension_manager=readonly"),
    ]


def _environment(home: pathlib.Path, token: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("JUPYTER", "JPY_"))}
    root = str(pathlib.Path(__file__).parents[1])
    own = {
        "JUPYTER_CONFIG_DIR": "config",
        "JUPYTER_DATA_DIR": "data",
        "JUPYTER_RUNTIME_DIR": "runtime",
        "JUPYTERLAB_SETTINGS_DIR": "settings",
        "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
        "IPYTHONDIR": "ipython",
        "MPLCONFIGDIR": "matplotlib",
    }
    folders = {name: str(home / folder) for name, folder in own.items()}
    path = f"{pathlib.Path(sys.executable).parent}{os.pathsep}{kept.get('PATH', '')}"
    return {**kept, **folders, "JUPYTER_TOKEN": token, "PATH": path, "PYTHONPATH": root}


def _wait_for_url(process: subprocess.Popen, home: pathlib.Path, token: str) -> str:
    end = time.monotonic() + 90
    while time.monotonic() < end and process.poll() is None:
        for record in (home / "runtime").glob("jpserver-*.json"):
            with contextlib.suppress(ValueError, KeyError, OSError):  # not written to its end yet
                url = json.loads(record.read_text())["url"]
                urllib.request.urlopen(f"{url}api?token={token}", timeout=2).read()
                return url
        time.sleep(0.1)
    raise RuntimeError(f"JupyterLab did not start:\n{(home / 'log').read_text()}")
