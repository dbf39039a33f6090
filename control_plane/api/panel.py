"""Serves the built panel; without a build, a plain page says how to make one."""

from pathlib import Path

from flask import Blueprint, Response, send_from_directory
from werkzeug.exceptions import NotFound

from control_plane.shipped import PANEL

_NOT_BUILT = """<!doctype html><html lang="en"><meta charset="utf-8"><title>daqplane</title>
<h1>The panel is not built</h1>
<p>Run <code>make panel</code> in the project's folder and reload. The API works without it.</p>
<h1 lang="zh-CN">面板尚未构建</h1>
<p lang="zh-CN">请在项目目录运行 <code>make panel</code> 后刷新。API 不受影响。</p></html>"""


def panel_blueprint(dist: Path = PANEL) -> Blueprint:
    """Files of the build, and its index page for every address that the panel routes itself."""
    blueprint = Blueprint("panel", __name__)

    @blueprint.get("/")
    @blueprint.get("/<path:path>")
    def panel(path: str = "") -> Response:
        if path.startswith(("api/", "ws")):
            raise NotFound
        if not (dist / "index.html").is_file():
            return Response(_NOT_BUILT, 503, mimetype="text/html")
        if path.startswith("assets/") or (path and _is_file(dist / path)):
            response = send_from_directory(dist, path)
            # Names under assets/ carry a hash of their content.
            lasting = path.startswith("assets/")
            response.headers["Cache-Control"] = (
                "public, max-age=31536000, immutable" if lasting else "no-cache"
            )
            return response
        response = send_from_directory(dist, "index.html")
        response.headers["Cache-Control"] = "no-cache"
        return response

    return blueprint


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        # A name that no file can have, too long for example.
        raise NotFound from None
