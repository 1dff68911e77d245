"""The exceptions a user can cause. Each message is one line: the thing, its value, and the way out.

UserError              the command line prints the message and exits with 2; --debug shows the traceback
  ConfigError          a recipe, a key or an option is wrong; raised before any work starts
  DataError            the data or the world is not what the recipe needs (empty dataset, site down, full disk)
    DamagedFileError   a file of ours does not hold what was written
"""


class UserError(Exception):
    """A mistake its user can mend; never a bug of ours."""


class ConfigError(UserError):
    """A recipe, key, value or option that cannot work."""


class DataError(UserError):
    """Data, a site or a disk that is not what the recipe needs."""


class DamagedFileError(DataError, ValueError):
    """A file of ours whose bytes are not those that were written: a disk's fault, or a hand's. A ValueError too, as what a
    parser says of such bytes."""
