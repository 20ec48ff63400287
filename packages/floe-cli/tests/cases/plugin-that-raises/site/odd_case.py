from floe_core.plugins import AssetInspection


class Odd:
    fields = frozenset({"path"})

    def locate(self, transform, root):
        return {}["located"]

    def inspect(self, located, root):
        return AssetInspection([])

    def execute(self, transform, context): ...
