"""The version of the installed package, from its metadata."""

from importlib.metadata import version

VERSION = version("daqplane")
