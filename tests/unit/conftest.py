"""How property tests run here."""

from __future__ import annotations

from hypothesis import settings

# No deadline: on a shared machine the time of one example says nothing of the code.
settings.register_profile("loadkit", deadline=None)
settings.load_profile("loadkit")
