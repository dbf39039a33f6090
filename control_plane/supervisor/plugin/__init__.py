"""Runs inside supervisord: sees deaths at once, tells them at once, and notes who asked for what.

Stock supervisord reports a death up to two seconds late, shows exit status 0 for whatever it gave
up on, and forgets who stopped a program. This package adds, as ``daq.*`` beside the stock methods,
what :mod:`control_plane.supervisor.client` asks for.

Rules: standard library and supervisor only; no threads; nothing may raise, because an exception in
a callback ends supervisord. Remove the ``[rpcinterface:daq]`` section to run without it: everything
works then, only slower.
"""

from control_plane.supervisor.plugin.interface import make_rpcinterface

__all__ = ["make_rpcinterface"]
