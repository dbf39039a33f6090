"""``python -m control_plane`` is the same as ``daqplane``."""

from control_plane.cli import main

if __name__ == "__main__":
    main()
