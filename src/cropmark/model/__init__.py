"""The values everything else is written in: sizes, formats, problems, assets."""
