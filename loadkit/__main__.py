"""The entry point of the `loadkit` command and of `python -m loadkit`.

Worker processes import this module again (multiprocessing does so with whatever was run), so it imports nothing.
"""


def main() -> None:
    """Runs the command line."""
    from loadkit.cli.app import run

    run()


if __name__ == "__main__":
    main()
