"""The data set in the forms that other trainers read; one file a form, each with `export(run, out)`."""
