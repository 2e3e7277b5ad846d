"""Python's garbage collector while a verb starts: off while packages load, on once the work begins.

Loading makes hundreds of thousands of objects that live as long as the process. Looking through them again
and again costs a tenth of the start; afterwards it would cost pauses, so they are set aside until the end.
"""

from __future__ import annotations

import gc


def begin() -> None:
    """Stop collecting while packages load."""
    gc.disable()


def done() -> None:
    """Set aside what has been loaded, and collect from now on; nothing where `begin` was not called."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()


def end() -> None:
    """Take back what was set aside, so that the end of the process can clean up everything."""
    gc.unfreeze()
    gc.enable()
