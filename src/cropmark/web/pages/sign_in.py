"""The sign-in page of a production server: a form that takes the admin token."""

from __future__ import annotations

from html import escape

from cropmark.web.pages.layout import document


def page(destination: str, *, failed: bool = False) -> str:
    """The page as HTML. `destination` is the path to show after signing in.

    `failed`: the last token was wrong, so the page shows an error.
    """
    error = '<p class="problem" role="alert" id="error">This is not the admin token.</p>' if failed else ""
    described = ' aria-invalid="true" aria-describedby="error"' if failed else ""
    return document(
        "Sign in to cropmark",
        f"""<main class="narrow"><h1>Sign in</h1>
<p>This server runs in production. Its pages need the admin token: the value of <code>CROPMARK_ADMIN_TOKEN</code>.</p>
{error}<form method="post" action="/_sign-in"><input type="hidden" name="next" value="{escape(destination)}">
<label for="token">Admin token</label>
<input id="token" name="token" type="password" autocomplete="current-password" required autofocus{described}>
<button>Sign in</button></form></main>""",
    )
