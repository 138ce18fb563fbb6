"""Reports: pages that people look at. One HTML file each, with nothing fetched, no script, fit for paper and screen."""
