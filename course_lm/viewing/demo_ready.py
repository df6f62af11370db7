"""What every visitor's kernel of the live demo begins with; the fork server alone imports this.

Unlike other modules it works when it is imported: it reads the models, lets them reply, and tells
the garbage collector to leave all of it where it is, so that the memory stays shared. The model of
the last phase is made first, by a process of its own, where it is not there yet.
"""

import gc
import subprocess
import sys

import ipykernel.debugger  # what a kernel would import later, once for all
import ipykernel.ipkernel
import ipykernel.kernelapp  # noqa: F401

from ..classroom import aligned
from ..training.states import own_state
from .demo import ending_table, first_turn

if not own_state(aligned.NAME).exists():
    subprocess.run([sys.executable, "-m", aligned.__name__], check=False)
first_turn()
ending_table(0)
gc.freeze()
