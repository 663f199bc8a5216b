"""``python -m loafer_core``."""

from loafer_core.cli import main

if __name__ == "__main__":
    main()
