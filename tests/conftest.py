"""What every test needs: a shell that runs them in the background would let them ignore Ctrl-C."""

import signal

signal.signal(signal.SIGINT, signal.default_int_handler)
