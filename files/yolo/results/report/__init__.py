"""The report for people, ``report.html``: figures become a view, a template makes a page of it.

Only this part of the package needs jinja2, matplotlib and numpy; it runs on the control node.
"""
