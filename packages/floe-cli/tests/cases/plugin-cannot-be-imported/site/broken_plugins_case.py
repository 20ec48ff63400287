class Stubborn:
    def __init__(self) -> None:
        raise RuntimeError("no licence")


class Half:
    fields = frozenset({"path"})

    def locate(self, transform, root):
        return None, []

    def execute(self, transform, context):
        return None
