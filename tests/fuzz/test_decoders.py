"""Whatever strangers send, a decoder answers with a value or with an error of ours."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from tests.fuzz.decoders import DECODERS, LARGEST, feed, seeds_of

PIECES = [
    *(b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b".", b"/", b"=", b"\r\n", b"\x00"),
    *(b"null", b"true", b"1e999", b"-0", b"9" * 30, b"\\ud800", b"\xed\xa0\x80"),
]
"""What a parser may trip over."""


def mutants(seeds: list[bytes]) -> SearchStrategy[bytes]:
    """Make bytes that are nearly one of the seeds: pieces cut out, put in or repeated."""
    pieces = st.binary(max_size=8) | st.sampled_from(PIECES)

    @st.composite
    def mutant(draw: DrawFn) -> bytes:
        data = draw(st.sampled_from(seeds))
        for _ in range(draw(st.integers(1, 4))):
            start = draw(st.integers(0, len(data)))
            stop = draw(st.integers(start, min(len(data), start + 40)))
            middle = draw(pieces) * draw(st.sampled_from([1, 1, 1, 0, 2, 500]))
            data = data[:start] + middle + data[stop:]
        return data[:LARGEST]

    return mutant()


@pytest.mark.parametrize("name", DECODERS)
def test_nothing_but_an_error_of_ours_comes_out(name: str) -> None:
    """Of noise, of good input and of input that is nearly good."""
    decoder = DECODERS[name]
    seeds = seeds_of(decoder)
    for seed in seeds:
        feed(decoder, seed)

    @settings(deadline=None, suppress_health_check=list(HealthCheck))
    @given(mutants(seeds) | st.binary(max_size=200))
    def fed(data: bytes) -> None:
        feed(decoder, data)

    fed()
