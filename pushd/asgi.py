"""The app by one name, for whoever runs ASGI servers rather than `pushdctl serve`.

    uvicorn.run("pushd.asgi:app", http="pushd.web.http:Http", ws="pushd.web.stream:Stream")

Without these two classes there is no stream, and nothing bounds a slow request; the
options of uvicorn's command line cannot name them.
"""

import os

from pushd.app import create_app
from pushd.settings import Settings

app = create_app(Settings.read(os.environ))
