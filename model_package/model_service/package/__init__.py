"""The files of a model package: its code, its samples, its folders."""
