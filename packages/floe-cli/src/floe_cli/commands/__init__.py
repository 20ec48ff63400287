"""One module a command; the trailing underscore keeps names of Python free."""
