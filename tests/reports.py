"""Reading of the HTML reports that tasks write."""

import re


def table_rows(path):
    """Return the cells of each row of all tables of a report, header rows left out."""
    text = path.read_text(encoding="utf-8")
    rows = [re.findall("<td>(.*?)</td>", row) for row in re.findall("<tr>(.*?)</tr>", text)]
    return [row for row in rows if row]
