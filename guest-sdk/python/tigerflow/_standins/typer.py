"""In the place of typer: how a parameter is described. The command line is the host's."""


class _Description:
    def __init__(self, default=..., *param_decls, help=None, **_):
        self.default = default
        self.param_decls = param_decls
        self.help = help


def Option(default=..., *param_decls, help=None, **others):
    return _Description(default, *param_decls, help=help, **others)


def Argument(default=..., *, help=None, **others):
    return _Description(default, help=help, **others)


def echo(message="", err=False):
    import sys

    print(message, file=sys.stderr if err else sys.stdout)
