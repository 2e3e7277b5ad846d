"""The HTTP door: ways in, views with filters and pages, ad-hoc SQL, live changes, metrics."""

from headrace.serve.server import create_server as create_server
from headrace.serve.server import make_server as make_server
from headrace.serve.server import serve as serve
from headrace.serve.server import server_config as server_config
from headrace.serve.settings import ServerSettings as ServerSettings

__all__ = ["ServerSettings", "create_server", "make_server", "serve", "server_config"]
