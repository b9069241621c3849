"""Fuzz by hand: `make fuzz` feeds every decoder for a while, led by what code it reaches.

    make fuzz                     # a minute for each decoder
    make fuzz ARGS="--seconds 5"  # or another time
    make fuzz ARGS="token"        # one of them

libFuzzer, in the package atheris, makes the bytes. An error that is none of ours, an input
that takes 10 seconds, or 512 MiB of memory end a run, and the input is kept under
`build/fuzz`. A finding becomes a test with a name, next to the tests of that decoder.
"""

import argparse
import subprocess
import sys
from pathlib import Path

CORPUS = Path("build/fuzz")
SLOWEST = 10
"""Seconds one input may take."""
LARGEST_PROCESS = 512
"""MiB a process that decodes may have."""


def main() -> int:
    """Feed one decoder after the other, each in a process of its own."""
    parser = argparse.ArgumentParser(prog="make fuzz", allow_abbrev=False)
    parser.add_argument("decoders", nargs="*", help="those to feed; all by default")
    parser.add_argument("--seconds", type=int, default=60, help="for each of them")
    options = parser.parse_args()
    from tests.fuzz.decoders import DECODERS

    failed = [
        name
        for name in options.decoders or DECODERS
        if _run(name, options.seconds).returncode != 0
    ]
    sys.stdout.write(f"Found something in: {', '.join(failed) or 'nothing'}.\n")
    return 1 if failed else 0


def _run(name: str, seconds: int) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(
        [sys.executable, "-m", "tests.fuzz", "--feed", name, str(seconds)], check=False
    )


def feed(name: str, seconds: int) -> None:
    """Feed one decoder, in this process, which ends here."""
    import atheris  # type: ignore[import-not-found, import-untyped, unused-ignore] # made by `make`

    with atheris.instrument_imports(include=["pushd"]):
        from tests.fuzz.decoders import DECODERS, LARGEST, feed, seeds_of

    decoder = DECODERS[name]
    corpus = CORPUS / name.replace(" ", "-")
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds_of(decoder)):
        (corpus / f"seed-{number}").write_bytes(seed)
    arguments = [
        *(sys.argv[0], str(corpus), f"-artifact_prefix={corpus}-", "-print_final_stats=1"),
        *(f"-max_total_time={seconds}", f"-timeout={SLOWEST}", f"-max_len={LARGEST}"),
        *(f"-rss_limit_mb={LARGEST_PROCESS}", "-verbosity=0"),
    ]
    atheris.Setup(arguments, lambda data: feed(decoder, data))
    atheris.Fuzz()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--feed"]:
        feed(sys.argv[2], int(sys.argv[3]))
    else:
        sys.exit(main())
