"""What tasks use of `tigerflow.utils`."""

from types import SimpleNamespace


class SetupContext(SimpleNamespace):
    """What `setup` prepares for all runs. After it, it cannot be changed."""

    def __init__(self, **values):
        super().__init__(**values)
        self._frozen = False

    def __setattr__(self, name, value):
        if getattr(self, "_frozen", False):
            raise AttributeError(f"Cannot modify frozen SetupContext: tried to set '{name}'")
        super().__setattr__(name, value)

    def __delattr__(self, name):
        if getattr(self, "_frozen", False):
            raise AttributeError(f"Cannot modify frozen SetupContext: tried to delete '{name}'")
        super().__delattr__(name)

    def freeze(self):
        self._frozen = True
