"""A Gaia hub with its reader and a names API, for development, demos and tests.

    hub = DevHub(None, url="http://127.0.0.1:8481")
    hub.register("alice.id.blockstack", alice, {"https://app.example": alice_in_app})
    uvicorn.run(hub.app, host="127.0.0.1", port=8481)

It is as strict as the real ones, so that what passes here passes there: auth tokens,
scopes, etags, errors and limits are those of Gaia hub 2.8.1 with its disk driver.
"""

from pushd.devhub.app import DevHub
from pushd.devhub.limits import Limits

__all__ = ["DevHub", "Limits"]
