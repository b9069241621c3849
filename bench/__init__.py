"""Measures what one core of a pushd server can do, and what a message costs it.

Where to find what:

- The commands: `__main__`, `guard`, `profile`, `waits`, `growth`, `soak`, `abuse`,
  `comeback`, `store` and `plots`. CONTRIBUTING.md says which answers what.
- What is measured: `processes` and `servers` start it, `rigs` put it together for what
  grows; `bare` is the yardstick, `peers/` are other systems.
- Who speaks to it: `load`, a program in C that `wire` and `records` tell what to say;
  `talk`, and by it `exchange`, `pair` and `abusers`.
- What is done: `scenarios`, `axes`, and `counting` on a server that is `counted`.
- What is told: `pace`, `report`, `compare`; by the kernel's profiler `perf`, and of its
  events `timeline`.
"""
