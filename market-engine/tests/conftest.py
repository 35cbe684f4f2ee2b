"""What every test of the engine may use."""

from __future__ import annotations

import hypothesis

hypothesis.settings.register_profile("project", deadline=None, derandomize=True)
hypothesis.settings.load_profile("project")
