"""Settings of all tests: a property is not tried against the clock, since the machine may be busy."""

from hypothesis import settings

settings.register_profile("slmctl", deadline=None)
settings.load_profile("slmctl")
