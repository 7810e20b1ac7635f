"""The app of wagtail_page.py."""
