"""How hard the property tests of this package look: enough to find, not enough to wait for."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

#: For the properties of codecs.
BRISK = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
