"""`python -m cavtool` is `cav`."""

from cavtool.cli.app import main

if __name__ == "__main__":
    main()
