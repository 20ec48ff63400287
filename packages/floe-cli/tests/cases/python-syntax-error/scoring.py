def build(context):
    return {"rows": 1
