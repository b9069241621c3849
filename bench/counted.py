"""The command `python -m bench.counted PATH`: a server that counts what Python does in it.

It is `pushdctl serve`, only slower. Told by SIGUSR1 it writes to the path how many
bytecode instructions it executed until then, of each file of Python. They depend on nothing
but the code and the order of events, least of all on the machine.
"""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from msgspec.json import encode

from pushd.serve import serve

Trace = Callable[[FrameType, str, Any], Any]


class Count:
    """Counts the instructions of one file.

    Attributes:
        instructions: Executed until now.
    """

    def __init__(self) -> None:
        self.instructions = 0

    def __call__(self, frame: FrameType, event: str, argument: Any) -> Trace:
        """Count one; called by the interpreter before each."""
        if event == "opcode":
            self.instructions += 1
        return self


def main() -> None:
    """Serve, and count in the thread of the event loop."""
    counts: dict[str, Count] = {}
    path = Path(sys.argv[1])

    def called(frame: FrameType, event: str, argument: Any) -> Trace:
        frame.f_trace_lines, frame.f_trace_opcodes = False, True
        name = frame.f_code.co_filename
        count = counts.get(name)
        if count is None:
            count = counts[name] = Count()
        return count

    def tell(number: int, frame: FrameType | None) -> None:
        sys.settrace(None)
        whole = path.with_suffix(".whole")
        whole.write_bytes(encode({n: count.instructions for n, count in counts.items()}))
        whole.rename(path)
        sys.settrace(called)

    signal.signal(signal.SIGUSR1, tell)
    sys.settrace(called)
    serve(os.environ)


if __name__ == "__main__":
    main()
