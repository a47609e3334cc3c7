"""What can go wrong in a way the person at the terminal can mend.

Everything raised on purpose derives from :class:`IntfitError`; the command line turns it into
one line and an exit code, so messages name the offending value and say what to do next.
"""


class IntfitError(Exception):
    """An input or an output that cannot be dealt with; exit code 1."""


class UsageError(IntfitError):
    """A request that contradicts itself; exit code 2."""


class MediaError(IntfitError):
    """A medium that cannot be read, fitted or written."""


class FileFormatError(IntfitError):
    """A file that is not a sound intfit file."""


class DeviceError(IntfitError):
    """A device that was asked for by name and is not there."""
