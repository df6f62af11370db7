"""What tests share; a shell that runs them in the background would let them ignore Ctrl-C."""

import signal

import pytest
import torch

signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def one_thread():
    """Exactness is for as many threads as before; with one, a busy machine costs no time."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
