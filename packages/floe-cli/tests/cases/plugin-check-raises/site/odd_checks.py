class Odd:
    nests_namespaces = False

    def check(self, profile):
        raise ZeroDivisionError

    def properties(self, catalog, storage, data, secret):
        raise NotImplementedError
