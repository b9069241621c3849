"""`python -m pushd` is `pushdctl`."""

from pushd.cli import main

if __name__ == "__main__":
    main()
