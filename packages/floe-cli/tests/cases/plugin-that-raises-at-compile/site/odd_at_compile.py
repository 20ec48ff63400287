from floe_core.plugins import AssetInspection, LocatedTransform


class Odd:
    fields = frozenset({"path"})

    def locate(self, transform, root):
        return LocatedTransform(transform.name, transform.path), []

    def inspect(self, located, root):
        return AssetInspection([root / "gone.csv"])

    def execute(self, transform, context): ...
