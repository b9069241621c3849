"""What went on is told from the kernel's events: one thing at a time, and what held up."""

import pytest

from bench.timeline import (
    DISK,
    LOAD,
    NOBODY,
    OTHERS,
    SERVER,
    STORE,
    SYNC,
    TURN,
    Cast,
    Stretch,
    Timeline,
    bursts,
    events,
)

CAST = Cast(server=10, store=20, load=30)


def switch(core: int, at: int, before: str, state: str, after: str) -> str:
    """Write how perf tells that a thread gave its core to another; both are NAME-NUMBER."""
    (left, leaves), (comes, enters) = before.split("-"), after.split("-")
    return (
        f"{leaves:>7} [{core:03}] 1.{at:09}:  sched:sched_switch: prev_comm={left}"
        f" prev_pid={leaves} prev_prio=120 prev_state={state} ==> next_comm={comes}"
        f" next_pid={enters} next_prio=120"
    )


def woken(at: int, thread: str) -> str:
    """Write how perf tells that a thread could run."""
    name, number = thread.split("-")
    return (
        f"      0 [000] 1.{at:09}:  sched:sched_wakeup: comm={name} pid={number} prio=120"
        " target_cpu=001"
    )


def call(at: int, thread: int, name: str) -> str:
    """Write how perf tells of a system call; the server has a core of its own."""
    core = 0 if thread == CAST.server else 1
    return f"{thread:>7} [{core:03}] 1.{at:09}:  syscalls:sys_{name}: 0x0"


def told(*lines: str) -> Timeline:
    """Return what went on."""
    return Timeline(events(lines), CAST)


def went_on(timeline: Timeline) -> list[tuple[int, str]]:
    """Return how long each thing went on, one after the other."""
    return [(end - begin, what) for begin, end, what in timeline.going]


def test_one_thing_goes_on_at_a_time() -> None:
    """The store first, for it has the flight; then the server, then the load."""
    timeline = told(
        switch(0, 100, "swapper/0-0", "R", "python-10"),
        switch(1, 110, "swapper/1-0", "R", "redis-20"),
        switch(1, 130, "redis-20", "S", "load-30"),
        switch(0, 160, "python-10", "S", "swapper/0-0"),
        switch(1, 170, "load-30", "S", "swapper/1-0"),
        switch(0, 200, "swapper/0-0", "R", "other-99"),
        "perf says something else here",
    )
    assert went_on(timeline) == [
        (10, SERVER),
        (20, STORE),
        (30, SERVER),
        (10, LOAD),
        (30, NOBODY),
    ]
    assert timeline.holds == []


def test_a_sync_waits_for_the_disk_but_where_the_store_runs() -> None:
    """The call for it takes some time of the processor, and all of it is a hold."""
    timeline = told(
        switch(1, 100, "swapper/1-0", "R", "redis-20"),
        call(110, 20, "enter_fdatasync"),
        switch(1, 120, "redis-20", "D", "swapper/1-0"),
        switch(1, 150, "swapper/1-0", "R", "redis-20"),
        call(160, 20, "exit_fdatasync"),
    )
    assert went_on(timeline) == [(10, STORE), (10, STORE), (30, DISK), (10, STORE)]
    assert timeline.holds == [Stretch(1_000_000_110, 1_000_000_160, SYNC)]


def test_who_keeps_a_thread_from_its_core_is_named() -> None:
    """Another program, the load, or nobody: then it was just being woken."""
    timeline = told(
        switch(1, 90, "redis-20", "S", "agent-99"),
        woken(100, "redis-20"),
        switch(1, 140, "agent-99", "S", "redis-20"),
        switch(1, 150, "redis-20", "R+", "load-30"),
        switch(1, 170, "load-30", "S", "redis-20"),
        switch(1, 180, "redis-20", "S", "swapper/1-0"),
        woken(190, "redis-20"),
        switch(1, 195, "swapper/1-0", "R", "redis-20"),
    )
    assert went_on(timeline) == [
        (10, NOBODY),
        (40, OTHERS),
        (10, STORE),
        (20, LOAD),
        (10, STORE),
        (10, NOBODY),
        (5, STORE),
    ]
    assert [(hold.end - hold.begin, hold.what) for hold in timeline.holds] == [
        (40, "the store's core had agent"),
        (20, "the store's core had load"),
        (5, "the store's core, idle, came late"),
    ]


def test_who_acts_runs() -> None:
    """A switch from a core's idle thread that the kernel did not tell of is made good."""
    timeline = told(
        switch(1, 100, "redis-20", "S", "swapper/1-0"),
        woken(110, "redis-20"),
        call(130, 20, "exit_epoll_wait"),
        call(140, 20, "enter_epoll_wait"),
        switch(1, 150, "redis-20", "S", "swapper/1-0"),
    )
    assert went_on(timeline) == [(10, NOBODY), (20, STORE), (10, STORE), (10, STORE)]
    assert [(hold.end - hold.begin, hold.what) for hold in timeline.holds] == [
        (20, "the store's core, idle, came late"),
    ]


def test_a_turn_is_what_lies_between_two_waits() -> None:
    """The event loop's turns are the server's; other threads wait for events too."""
    timeline = told(
        call(100, 10, "exit_epoll_pwait"),
        call(110, 30, "exit_epoll_pwait"),
        call(170, 10, "enter_epoll_pwait"),
        call(180, 30, "enter_epoll_pwait"),
        call(190, 10, "enter_epoll_pwait"),
    )
    assert timeline.holds == [Stretch(1_000_000_100, 1_000_000_170, TURN)]


@pytest.fixture
def timeline() -> Timeline:
    """The server runs, then the store, then the server; there are two turns."""
    return told(
        switch(0, 100, "swapper/0-0", "R", "python-10"),
        call(100, 10, "exit_epoll_pwait"),
        switch(1, 200, "swapper/1-0", "R", "redis-20"),
        call(250, 10, "enter_epoll_pwait"),
        call(260, 10, "exit_epoll_pwait"),
        switch(1, 300, "redis-20", "S", "swapper/1-0"),
        call(400, 10, "enter_epoll_pwait"),
    )


def test_the_time_of_a_message_adds_up(timeline: Timeline) -> None:
    """What went on from one moment to another is as long as that, within what is known."""
    during = timeline.during(1_000_000_150, 1_000_000_350)
    assert during == {SERVER: 100, STORE: 100}
    assert timeline.during(0, 10**10) == {SERVER: 200, STORE: 100}


def test_the_longest_hold_is_one_that_was_there(timeline: Timeline) -> None:
    """One that was over, or had not begun, held nobody up."""
    of_all = timeline.longest(1_000_000_120, 1_000_000_270)
    assert of_all == Stretch(1_000_000_100, 1_000_000_250, TURN)
    later = timeline.longest(1_000_000_255, 1_000_000_350)
    assert later == Stretch(1_000_000_260, 1_000_000_400, TURN)
    assert timeline.longest(1_000_000_400, 1_000_000_500) is None


def test_what_was_under_way_at_the_same_time_is_a_burst() -> None:
    """One that begins when the last of the others has come is the next."""
    messages = [(50, 60), (10, 20), (12, 30), (25, 28), (30, 31)]
    assert list(bursts(messages)) == [(10, 30, 3), (30, 31, 1), (50, 60, 1)]
    assert list(bursts([])) == []
