"""The app by the one name a process manager needs: `uvicorn pushd.asgi:app`.

Add `--http pushd.web.http:Http --ws pushd.web.stream:Stream`, or the server has no
stream; `pushdctl serve` does that and more.
"""

import os

from pushd.app import create_app
from pushd.settings import Settings

app = create_app(Settings.read(os.environ))
