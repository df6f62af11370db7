"""How nbgrader runs what students hand in: a cell that kills its kernel loses its own point only.

nbgrader alone gives a submission whose kernel dies, or cannot be stopped, no grade at all. Here the
cell at fault ends in an error, the set-up runs again in a new kernel, and the next cell follows.
The configuration that `grading` writes asks for it.
"""

import copy

SAID = "this cell killed its kernel or did not end"


def autograde_preprocessors() -> list[type]:
    """The steps of `nbgrader autograde`, with an Execute that goes on when the kernel does not."""
    from nbclient.exceptions import CellTimeoutError, DeadKernelError
    from nbformat.v4 import new_output
    from nbgrader.converters.autograde import Autograde
    from nbgrader.preprocessors import Execute
    from traitlets import default

    class Surviving(Execute):
        @default("timeout_func")
        def _no_limit_for_the_set_up(self):
            return lambda cell: None if _is_set_up(cell) else self.timeout

        def preprocess_cell(self, cell, resources, index):
            try:
                return super().preprocess_cell(cell, resources, index)
            except (CellTimeoutError, DeadKernelError) as error:
                name = type(error).__name__
                said = new_output("error", ename=name, evalue=SAID, traceback=[f"{name}: {SAID}"])
                cell.outputs.append(said)
            self._cleanup_kernel()
            self.km = self.create_kernel_manager()
            self.start_new_kernel()
            self.start_new_kernel_client()
            for place, before in enumerate(self.nb.cells[:index]):
                if _is_set_up(before):
                    self.execute_cell(copy.deepcopy(before), place)
            return cell, resources

    Surviving.__name__ = "Execute"  # the name by which the configuration speaks of it
    steps = Autograde().autograde_preprocessors
    return [Surviving if step is Execute else step for step in steps]


def _is_set_up(cell) -> bool:
    return cell is not None and cell.metadata.get("nbgrader", {}).get("grade_id") == "set_up"
