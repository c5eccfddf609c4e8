"""Parts of HTML reports: charts, embedded images, formatting of numbers."""
