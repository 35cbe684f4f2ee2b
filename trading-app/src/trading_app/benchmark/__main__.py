"""``python -m trading_app.benchmark``: the command, or how to get what it needs."""

import sys


def main() -> None:
    """Run the command; 1 with one line when a package of the benchmark's own is missing."""
    try:
        from trading_app.benchmark import command  # noqa: PLC0415 - it may not be there
    except ModuleNotFoundError as error:
        package = str(error.name).partition(".")[0]
        sys.exit(f"benchmark: {package} is not installed: make install")
    command.main()


if __name__ == "__main__":
    main()
