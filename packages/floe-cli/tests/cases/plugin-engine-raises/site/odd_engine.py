class Odd:
    adapter = "odd"
    distribution = "dbt-odd"
    properties = {}
    stores_in_lake = False

    def is_installed(self):
        return True

    def check(self, compute):
        raise KeyError("threads")

    relocate = output = secrets = query = connect = check
