"""How quick the machine is while it is measured: a fixed piece of work, timed by itself.

A virtual machine shares its caches and its clock with strangers, and its cores with
whatever else runs. The same signature is verified before each run, so that tables from
other days and machines can be compared, and a disturbed one be recognised.
"""

import time

from bench.processes import cores, on_core
from pushd.identity.keys import PrivateKey

ROUNDS = 5
TIMES = 400


def verify_us() -> float:
    """Return the microseconds one ES256K signature takes on the server's core, at best."""
    key = PrivateKey.generate()
    message = b"pace"
    signature, public = key.sign(message), key.public

    def once() -> float:
        began = time.process_time_ns()
        for _ in range(TIMES):
            public.verify(signature, message)
        return (time.process_time_ns() - began) / TIMES / 1e3

    with on_core(cores()[0]):
        return min(once() for _ in range(ROUNDS))
