"""Makes the modules beside this file, ``engines``, importable in every folder of tests."""
