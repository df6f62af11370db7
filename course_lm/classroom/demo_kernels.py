"""Kernels that are copies of one process that is ready: quick to start, and light.

A kernel that imports torch and reads the models costs seconds and hundreds of megabytes. Here one
process has done so, the fork server of Python's multiprocessing, and a visitor's kernel is a fork
of it: what nobody changes lies in memory once. Needs the extra `lecturer`, and Linux or macOS.
"""

import os
from importlib.metadata import EntryPoint
from multiprocessing import active_children, forkserver, get_context, parent_process
from threading import Thread

from ipykernel.kernelapp import IPKernelApp
from jupyter_client.provisioning import KernelProvisionerFactory, LocalProvisioner

READY = "course_lm.viewing.demo_ready"  # what every kernel begins with
NAME = "forked"  # of the provisioner, to Jupyter
MOST = 100  # at a time
FORKS = get_context("forkserver")


class Fork:
    """A forked process, with the calls of `subprocess.Popen` that a provisioner makes."""

    stdin = stdout = stderr = None

    def __init__(self, *task: object) -> None:
        self.process = FORKS.Process(target=run_kernel, args=task, daemon=True)
        self.process.start()
        self.pid = self.process.pid
        self.kill, self.terminate = self.process.kill, self.process.terminate

    def poll(self) -> int | None:
        """Its exit status, None while it runs."""
        return self.process.exitcode

    def wait(self) -> int:
        """Its exit status, once it has ended."""
        self.process.join()
        return self.process.exitcode

    def send_signal(self, signal: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, signal)


class ForkedKernel(LocalProvisioner):
    """Starts a kernel as a fork of the process that is ready."""

    async def launch_kernel(self, cmd, **kwargs):
        """Start it; where it can be reached. Raises RuntimeError for one more than `MOST`."""
        if len(active_children()) >= MOST:
            raise RuntimeError(f"kernel: expected at most {MOST} at a time, got more; wait")
        self.process = Fork(self.parent.connection_file, os.getcwd())
        self.pid = self.process.pid
        return self.connection_info


def run_kernel(connection_file: str, folder: str) -> None:
    """Be a kernel in a folder, until it is shut down or the demo has ended."""
    Thread(target=_end_with, args=(parent_process(),), daemon=True).start()
    os.chdir(folder)
    quiet = "--HistoryManager.enabled=False", "--log-level=CRITICAL"
    IPKernelApp.launch_instance(["-f", connection_file, *quiet])


def _end_with(demo) -> None:
    demo.join()
    os._exit(1)


def begin() -> None:
    """Start the process that all kernels are copies of; it goes on getting ready by itself."""
    os.environ["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"  # nobody debugs; else it warns
    FORKS.set_forkserver_preload([READY, __name__])
    forkserver.ensure_running()


def wait() -> None:
    """Wait until it is ready, and tell Jupyter of its kernels."""
    first = FORKS.Process(target=int)
    first.start()
    first.join()
    KernelProvisionerFactory.provisioners[NAME] = EntryPoint(
        NAME, f"{__name__}:{ForkedKernel.__name__}", KernelProvisionerFactory.GROUP_NAME
    )
