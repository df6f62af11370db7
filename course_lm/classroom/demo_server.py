"""Serve one page to many: Voila with this page, `demo_kernels` and nothing else to be reached.

What a visitor may send to their kernel is what widgets say; a request to run code is refused. The
module needs the extra `lecturer`.
"""

import os
from pathlib import Path

from voila.app import Voila
from voila.tornado.handler import TornadoVoilaHandler

from . import demo_kernels

PAGE = Path(__file__).with_name("demo_page")
LEFT = 60  # seconds after which the kernel of a visitor who is gone ends
WIDGETS = "@jupyter-widgets/jupyterlab-manager", "@voila-dashboards/widgets-manager8"
SETTINGS = (
    "--Voila.log_level=ERROR",
    "--VoilaConfiguration.allow_template_override=NO",
    "--VoilaConfiguration.file_denylist=.*",  # no file of this machine is served
    *(f"--VoilaConfiguration.extension_allowlist={name}" for name in WIDGETS),
    f"--KernelProvisionerFactory.default_provisioner_name={demo_kernels.NAME}",
)


class Visit(TornadoVoilaHandler):
    """The one page; each call of it starts a kernel."""

    async def get(self, path: str = "") -> None:
        """Give it to a visitor, in the theme that they ask for, as long as there is room."""
        if path or self.get_argument("theme", "light") not in ("light", "dark"):
            self.refuse(404, "There is nothing at this address.")
        elif len(self.kernel_manager) >= demo_kernels.MOST:
            self.refuse(503, f"All {demo_kernels.MOST} places are taken. Try again in a minute.")
        else:
            await super().get(path)

    def refuse(self, status: int, sentence: str) -> None:
        """End with a sentence; Voila's own page of errors would ask for styles from elsewhere."""
        self.set_status(status)
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(sentence)


class Hall(Voila):
    """Voila with the page of the demo and its template."""

    def setup_template_dirs(self) -> None:
        """Put the demo's own template, which asks no network for anything, before the others."""
        super().setup_template_dirs()
        self.template_paths.insert(0, str(PAGE))

    def init_handlers(self) -> list:
        """The handlers of Voila, with the demo's own page."""
        own = {TornadoVoilaHandler: Visit}
        return [(at, own.get(kind, kind), *more) for at, kind, *more in super().init_handlers()]

    def launch_browser(self) -> None:
        """Say where the page is; Voila calls this when it listens."""
        print(f"The demo is at {self.connection_url} (dark: {self.connection_url}?theme=dark)")
        print("Ctrl-C ends it.", flush=True)


def serve(address: str, port: int) -> None:
    """Serve the page until Ctrl-C; what visitors leave lies in the current folder."""
    here = os.getcwd()
    os.environ["IPYTHONDIR"] = here
    demo_kernels.wait()
    values = {
        "Voila.ip": address,
        "Voila.port": port,
        "Voila.config_file_paths": here,  # nothing of the lecturer's own Jupyter
        "MappingKernelManager.cull_idle_timeout": LEFT,
        "MappingKernelManager.cull_interval": max(1, LEFT // 6),
    }
    own = [f"--{name}={value}" for name, value in values.items()]
    Hall.launch_instance([*SETTINGS, *own, str(PAGE / "demo.ipynb")])
