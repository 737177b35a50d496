"""The benchmark: this project against what people run otherwise. ``README.md`` says what each figure is."""
