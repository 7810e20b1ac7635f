"""A Django app with the template library `cropmark`.

INSTALLED_APPS = [..., "cropmark.integrations.django"]
CROPMARK = {"base": "https://img.example/fastly", "key": "..."}    # the fields of ImageUrls
"""
