"""The command `python -m bench.counted PATH`: a server that counts what Python does in it.

It is `pushdctl serve`, only slower. Told by SIGUSR1 it writes to the path how many
bytecode instructions it executed and how many functions of Python it called until then.
Both depend on nothing but the code and the order of events, least of all on the machine.
"""

import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any

from msgspec import Struct
from msgspec.json import encode

from pushd.serve import serve


class Counts(Struct):
    """What was executed until now."""

    instructions: int = 0
    calls: int = 0


def main() -> None:
    """Serve, and count in the thread of the event loop."""
    counts, path = Counts(), Path(sys.argv[1])

    def called(frame: FrameType, event: str, argument: Any) -> Any:
        frame.f_trace_lines, frame.f_trace_opcodes = False, True
        counts.calls += 1
        return executed

    def executed(frame: FrameType, event: str, argument: Any) -> Any:
        if event == "opcode":
            counts.instructions += 1
        return executed

    def tell(number: int, frame: FrameType | None) -> None:
        whole = path.with_suffix(".whole")
        whole.write_bytes(encode(counts))
        whole.rename(path)

    signal.signal(signal.SIGUSR1, tell)
    sys.settrace(called)
    serve(os.environ)


if __name__ == "__main__":
    main()
