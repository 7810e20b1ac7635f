"""cropmark makes pictures from URLs: `from cropmark import render, explain`."""
